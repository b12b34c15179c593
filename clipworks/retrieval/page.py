"""The page of queries with what was found: one file, nothing loaded from elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment

from clipworks.kit import images
from clipworks.retrieval.measures import Judged, average_precision

SIDE = 110  # pixels of a thumbnail's longer side

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Queries</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:1.5em auto;padding:0 1em;max-width:80em;color:#1a1a1a}
h2{font-size:1.05em;margin:1.6em 0 .4em}h2 small{font-weight:normal;color:#555}
.row{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.8em,1fr));gap:.6em}figure{margin:0;text-align:center;font-size:.68em}
.frame{aspect-ratio:1;display:flex;align-items:center;justify-content:center;background:#f3f3f3;border:3px solid transparent}
.hit .frame{border-color:#2f8f4e}.miss .frame{border-color:#d9b0ac}
img{max-width:100%;max-height:100%}figcaption{overflow-wrap:anywhere;color:#555}
</style>
<h1>Queries and their ten pictures</h1>
<p>Row <b>{{ row }}</b>: {{ what }}. {% if known %}Green: the picture shows what the query asks for.
AP@10 divides by all pictures that do. The worst, the middle and the best of {{ "{:,}".format(count) }} queries.{% else %}
Which pictures a query means is not known here. The first of {{ "{:,}".format(count) }} queries.{% endif %}</p>
{% for q in shown %}<h2>{{ q.text }}{% if known %} <small>AP@10 {{ "%.2f"|format(q.ap) }}, {{ q.relevant }} such picture{{ "s" if q.relevant != 1 }}</small>{% endif %}</h2>
<div class="row">{% for p in q.pictures %}<figure class="{{ p.mark }}"><div class="frame"><img loading="lazy" src="{{ p.source }}" alt="{{ p.name }}"></div>
<figcaption>{{ loop.index }}. {{ p.name }}{% if p.mark %}{{ " ✓" if p.mark == "hit" }}{% endif %}</figcaption></figure>{% endfor %}</div>
{% endfor %}</html>
"""


def write(
    path: Path, queries: Sequence[str], places: np.ndarray, files: Sequence[Path], *,
    hits: Judged | None, row: str, what: str, at_most: int,
) -> None:  # fmt: skip
    """Write the page.

    Args:
        places: int, of shape (query, place): the found ones of `files`, the best first.
        hits: which of them are relevant, where that is known.
        at_most: queries on the page.
    """
    ap = average_precision(hits) if hits is not None else np.zeros(len(queries))
    shown = []
    for query in _chosen(ap, at_most) if hits is not None else range(min(at_most, len(queries))):
        pictures = [
            {
                "name": files[place].name,
                "mark": "" if hits is None else "hit" if hits.hits[query, i] else "miss",
                "source": images.data_address(images.as_stored(files[place]), SIDE),
            }
            for i, place in enumerate(places[query])
        ]
        relevant = int(hits.relevant[query]) if hits is not None else 0
        shown.append({"text": queries[query], "ap": float(ap[query]), "relevant": relevant, "pictures": pictures})  # fmt: skip
    text = Environment(autoescape=True).from_string(PAGE).render(
        row=row, what=what, known=hits is not None, count=len(queries), shown=shown
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _chosen(ap: np.ndarray, at_most: int) -> list[int]:
    """A third of the worst queries, of those in the middle and of the best, in this order."""
    order = np.argsort(ap, kind="stable")
    if len(order) <= at_most:
        return order.tolist()
    third = at_most // 3
    middle = (len(order) - third) // 2
    rest = at_most - 2 * third
    return [*order[:third].tolist(), *order[middle : middle + third].tolist(), *order[len(order) - rest :].tolist()]  # fmt: skip
