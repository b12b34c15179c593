"""The page of tagged images: one file, nothing loaded from elsewhere; windows on hover."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment

from clipworks.kit import images
from clipworks.kit.places import MARK, replacing
from clipworks.tagging.sources import Unit
from clipworks.tagging.table import Line

SIDE = 360  # pixels of a thumbnail's longer side
AT_MOST = 200  # images on the page; the table has all

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">{{ mark|safe }}
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{{ title }}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:1.5em auto;padding:0 1em;max-width:80em;color:#1a1a1a}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(14em,1fr));gap:1.4em}
h1,p,li,figcaption{overflow-wrap:anywhere}figure{margin:0}
.frame{position:relative;display:inline-block;max-width:100%;line-height:0}
.frame img{max-width:100%;max-height:16em}
.frame i{position:absolute;border:2px solid #d33;box-shadow:0 0 0 1px #fff;display:none}
ul{list-style:none;margin:.3em 0;padding:0}li{cursor:default;border-radius:.3em;padding:0 .3em}
li:hover,li:focus{background:#eef3fa}li span{float:right;color:#555}
.bar{height:.25em;background:#e3e3e3}.bar i{display:block;height:100%;background:#2f6db5}
small{color:#555}nav{display:flex;flex-wrap:wrap;gap:.4em;margin:1em 0}
nav button{font:inherit;border:1px solid #bbb;border-radius:1em;background:#fff;padding:.1em .7em;cursor:pointer}
nav button.on{background:#2f6db5;color:#fff}input{font:inherit;padding:.2em .5em;width:16em;max-width:100%}
td{padding-right:1.5em;vertical-align:top;overflow-wrap:anywhere}
</style>
<h1>{{ title }}</h1>
<p>{{ "{:,}".format(count) }} images{% if figures|length < count %}, of which the first
{{ figures|length }} are here; the table has all{% endif %}. {{ note }}</p>
{% if warning %}<p><b>Beware: {{ warning }}.</b></p>{% endif %}
<p><input id="search" type="search" placeholder="search by file name" aria-label="search by file name"></p>
<nav>{% for name, number in names %}<button value="{{ name }}">{{ name }} {{ number }}</button>{% endfor %}</nav>
<main>{% for f in figures %}<figure data-name="{{ f.name }}" data-tags="{{ f.tags|map(attribute='name')|join('\n') }}">
<div class="frame">{% if f.source %}<img loading="lazy" src="{{ f.source }}" alt="{{ f.name }}">{% else %}{{ f.why }}{% endif %}{% for t in f.tags %}<i
style="left:{{ t.left }}%;top:{{ t.top }}%;width:{{ t.width }}%;height:{{ t.height }}%"></i>{% endfor %}</div>
<figcaption><ul>{% for t in f.tags %}<li tabindex="0"><span>{{ "%.2f"|format(t.probability) }}</span>{{ t.name }}
<div class="bar"><i style="width:{{ (100 * t.probability)|round(1) }}%"></i></div></li>{% else %}<li>no tag</li>{% endfor %}</ul>
<small>{{ f.name }}</small></figcaption></figure>{% endfor %}</main>
{% if bad %}<h2>{{ bad|length }} that could not be read</h2><table>{% for name, why in bad %}
<tr><td>{{ name }}</td><td>{{ why }}</td></tr>{% endfor %}</table>{% endif %}
<script>
const figures = [...document.querySelectorAll("figure")], chosen = new Set();
const search = document.getElementById("search");
function show() {
  const text = search.value.toLowerCase();
  for (const f of figures) {
    const tags = f.dataset.tags.split("\\n");
    f.hidden = !(f.dataset.name.toLowerCase().includes(text) && [...chosen].every(t => tags.includes(t)));
  }
}
search.oninput = show;
for (const b of document.querySelectorAll("nav button")) b.onclick = () => {
  b.classList.toggle("on");
  if (!chosen.delete(b.value)) chosen.add(b.value);
  show();
};
for (const f of figures) {
  const boxes = f.querySelectorAll(".frame i");
  f.querySelectorAll("li[tabindex]").forEach((li, k) => {
    li.onmouseenter = li.onfocus = () => boxes[k].style.display = "block";
    li.onmouseleave = li.onblur = () => boxes[k].style.display = "none";
  });
}
</script></html>
"""


def write(
    path: Path, units: Sequence[Unit], lines: Iterable[Line], *, count: int, bad: Sequence[tuple[str, str]],
    note: str, warning: str = "",
) -> None:  # fmt: skip
    """Write the page of the first images.

    Args:
        lines: of all images or of the first ones, in the order of the source.
        note: how the tags were made.
    """
    good = list(islice((line for line in lines if line.error is None), AT_MOST))
    figures: list[dict[str, Any]] = []
    for line, source in _first(units, good):
        try:
            image = images.read(source)
        except images.BadImage as error:  # it was read before
            figures.append({"name": line.image, "tags": [], "why": str(error)})
            continue
        tags = [
            {
                "name": tag.name,
                "probability": tag.probability,
                "left": round(100 * tag.box.left / image.width, 2),
                "top": round(100 * tag.box.top / image.height, 2),
                "width": round(100 * (tag.box.right - tag.box.left) / image.width, 2),
                "height": round(100 * (tag.box.bottom - tag.box.top) / image.height, 2),
            }
            for tag in line.tags
        ]
        figures.append({"name": line.image, "tags": tags, "source": images.data_address(image, SIDE)})  # fmt: skip
    names = Counter(tag.name for line in good for tag in line.tags)
    text = Environment(autoescape=True).from_string(PAGE).render(
        title="Tags", mark=MARK, count=count, figures=figures, bad=bad, note=note,
        warning=warning, names=names.most_common(),
    )  # fmt: skip
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _first(units: Sequence[Unit], wanted: Sequence[Line]) -> Iterator[tuple[Line, Path | bytes]]:
    """The wanted images again: few enough not to keep."""
    left = {line.image: line for line in wanted}
    for unit in units:
        for name, source in unit.read():
            if not left:
                return
            if name in left and not isinstance(source, Exception):
                yield left.pop(name), source
