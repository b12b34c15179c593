"""The page of classified pictures: thumbnails inside, so that one file can be handed on."""

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment

from clipworks.kit import images
from clipworks.kit.places import MARK, replacing

if TYPE_CHECKING:
    import pandas as pd

SIDE = 180  # pixels of a thumbnail's longer side

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">{{ mark|safe }}
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{{ title }}</title>
<style>
body{font:15px/1.5 system-ui;margin:1.5em auto;padding:0 1em;max-width:80em}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5em,1fr));gap:1.2em}
p,h1{overflow-wrap:anywhere}figure{margin:0}img{max-width:100%;height:8.5em;object-fit:contain;background:#f2f2f2;width:100%}
figcaption{overflow-wrap:anywhere;font-size:.85em}b{font-size:1.15em}
.bar{height:.35em;background:#ddd}.bar i{display:block;height:100%;background:#2f6db5}
label{margin-right:1em;white-space:nowrap}td{padding-right:1.5em;vertical-align:top}
</style>
<h1>{{ title }}</h1>
<p>{{ "{:,}".format(count) }} pictures, most certain first{% if shown < count %};
the {{ shown }} on this page are the most certain half and the least certain half of what it holds,
the table has all{% endif %}. Models: {{ models }}.</p>
<p>{% for name, number in classes %}<label><input type="checkbox" checked value="{{ name }}">
{{ name }} ({{ number }})</label>{% endfor %}</p>
<main>{% for f in figures %}<figure data-label="{{ f.label }}"><img loading="lazy" src="{{ f.source }}"
alt="{{ f.name }}"><figcaption><b>{{ f.label }}</b> {{ "%.2f"|format(f.probability) }}
<div class="bar"><i style="width:{{ (100 * f.probability)|round(1) }}%"></i></div>
then {{ f.second }} {{ "%.2f"|format(f.next) }}<br>{{ f.name }}</figcaption></figure>{% endfor %}</main>
{% if bad %}<h2>{{ bad|length }} that could not be read</h2><table>{% for name, why in bad %}
<tr><td>{{ name }}</td><td>{{ why }}</td></tr>{% endfor %}</table>{% endif %}
<script>
for (const box of document.querySelectorAll("input")) box.onchange = () => {
  for (const f of document.querySelectorAll("figure"))
    if (f.dataset.label === box.value) f.hidden = !box.checked;
};
</script></html>
"""


def page(
    path: Path, frame: "pd.DataFrame", folder: Path, *, models: str, at_most: int = 500
) -> None:
    """Write a page of a table that `classify` made, with thumbnails of its pictures."""
    good, lost = frame[frame["error"] == ""], frame[frame["error"] != ""]
    columns = [name for name in frame.columns if name.startswith("probability ")]
    half = at_most // 2
    places = range(len(good)) if len(good) <= at_most else [*range(half), *range(len(good) - half, len(good))]  # fmt: skip
    figures = []
    for line in (good.iloc[i] for i in places):
        ranked = sorted(columns, key=lambda column: -line[column])
        try:
            source = images.data_address(images.read(folder / line["picture"]), SIDE)
        except images.BadImage:  # it was read before, and went
            source = ""
        figures.append(
            {
                "name": line["picture"],
                "label": line["label"],
                "probability": float(line["probability"]),
                "second": ranked[1].removeprefix("probability "),
                "next": float(line[ranked[1]]),
                "source": source,
            }
        )
    text = Environment(autoescape=True).from_string(PAGE).render(
        title=f"Pictures of {folder.resolve().name}",
        mark=MARK,
        count=len(good),
        shown=len(figures),
        models=models,
        classes=[(c.removeprefix("probability "), int((good["label"] == c.removeprefix("probability ")).sum())) for c in columns],
        figures=figures,
        bad=list(zip(lost["picture"], lost["error"], strict=True)),
    )  # fmt: skip
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
