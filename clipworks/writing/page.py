"""The filter's report for people: captions per class, and what was rejected and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment

matplotlib.use("Agg")
from matplotlib import pyplot as plt

REPORT = """<!doctype html><meta charset="utf-8"><title>Captions: what was kept and why not</title>
<style>body{font:15px/1.5 system-ui;max-width:60em;margin:2em auto;padding:0 1em}
td,th{padding:.2em .8em;text-align:left;vertical-align:top}img{max-width:100%}
tr:nth-child(even){background:#f4f4f4}</style>
<h1>Captions: what was kept and why not</h1>
<p>{{ m.kept }} of {{ m.candidates }} sentences kept; {{ m.labels_per_caption }} classes per caption.</p>
<h2>Rejected, by reason</h2><table><tr><th>reason</th><th>sentences</th><th>examples</th></tr>
{% for reason, count in reasons %}<tr><td>{{ reason }}</td><td>{{ count }}</td>
<td>{% for text in examples[reason] %}{{ text }}<br>{% endfor %}</td></tr>{% endfor %}</table>
<h2>Captions per class</h2><p>{% for name, count in classes %}{{ name }} {{ count }}{{ ", " if not loop.last }}{% endfor %}</p>
<img src="captions_per_class.png" alt="bars: captions per class">
<p>Which classes go together: data/cooccurrence/combinations.png, once that stage has run.</p>
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
    _bars(folder / "captions_per_class.png", class_counts, "captions per class")
    page = Environment(autoescape=True).from_string(REPORT)
    text = page.render(m=metrics, classes=class_counts.items(), reasons=reasons, examples=examples)
    (folder / "report.html").write_text(text + "\n", encoding="utf-8")


def _bars(path: Path, values: dict[str, int], title: str) -> None:
    """Horizontal bars, in the given order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(7, 0.18 * len(values) + 1))
    axes.barh(list(values), list(values.values()), color="#3b6ea5")
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=7)
    axes.margins(y=0.01)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
