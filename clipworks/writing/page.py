"""The filter's report for people: captions per class, and what was rejected and why."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from clipworks.kit.figures import plt
from clipworks.writing.rules import foreign_script

TALLEST = 400  # inches of a picture: beyond 65,536 pixels there can be none
REPORT = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Captions: what was kept and why not</title>
<style>body{font:15px/1.5 system-ui;max-width:60em;margin:2em auto;padding:0 1em}
td,th{padding:.2em .8em;text-align:left;vertical-align:top}img{max-width:100%}
tr:nth-child(even){background:#f4f4f4}small{color:#555}</style>
<h1>Captions: what was kept and why not</h1>
<p>{{ "{:,}".format(m.kept) }} of {{ "{:,}".format(m.candidates) }} sentences kept;
{{ m.labels_per_caption }} classes per caption. All of them: <code>captions.parquet</code> and
<code>rejected.parquet</code> in this folder.</p>
<h2>Rejected, by reason</h2><table><tr><th>reason</th><th>sentences</th><th>examples</th></tr>
{% for reason, count in reasons %}<tr><td>{{ reason }}</td><td>{{ "{:,}".format(count) }}</td>
<td>{% for text, note in examples[reason] %}{{ text }}{% if note %} <small>({{ note }})</small>{% endif %}<br>
{% endfor %}</td></tr>{% endfor %}</table>
<h2>Captions per class</h2>
<img src="captions_per_class.png" alt="bars: how many captions name each class">
<p>Which classes go together: <a href="../cooccurrence/combinations.png">a heat map</a>, once the
cooccurrence stage has run.</p></html>
"""


def filter_report(
    folder: Path,
    *,
    class_counts: dict[str, int],
    metrics: dict[str, Any],
    reasons: Sequence[tuple[str, int]],
    examples: dict[str, list[str]],
) -> None:
    """report.html: captions per class and the most frequent reasons for rejection, with examples."""
    _bars(folder / "captions_per_class.png", class_counts)
    page = Environment(autoescape=True).from_string(REPORT)
    noted = {reason: [(t, _note(t)) for t in texts] for reason, texts in examples.items()}
    text = page.render(m=metrics, reasons=reasons, examples=noted)
    (folder / "report.html").write_text(text + "\n", encoding="utf-8")


def _note(text: str) -> str:
    """What the first foreign letter is, for whom has no font that shows it."""
    letter = foreign_script(text)
    return f"{letter} is {unicodedata.name(letter, 'unnamed').title()}" if letter else ""


def _bars(path: Path, values: dict[str, int]) -> None:
    """Horizontal bars, in the given order, with their numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(7, min(0.18 * len(values) + 1, TALLEST)))
    drawn = axes.barh(list(values), list(values.values()), color="#3b6ea5")
    axes.bar_label(drawn, fontsize=6, padding=2)
    axes.invert_yaxis()
    axes.set_title("captions that name each class", fontsize=10)
    axes.set_xlabel("captions", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.06, y=0.01)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
