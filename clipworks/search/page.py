"""What was found, as a page that loads nothing from elsewhere, a table, or JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment

from clipworks.kit import images
from clipworks.kit.errors import InputError
from clipworks.kit.files import printable
from clipworks.kit.places import MARK, replacing
from clipworks.kit.tables import write_csv
from clipworks.search.index import Found, plain
from clipworks.tagging.sources import Unit

SIDE = 360  # pixels of a thumbnail's longer side
KINDS = (".html", ".csv", ".json", ".parquet")

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">{{ mark|safe }}
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{{ title }}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:1.5em auto;padding:0 1em;max-width:80em;color:#1a1a1a}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(13em,1fr));gap:1.4em}
h1,figcaption{overflow-wrap:anywhere}figure{margin:0}
.frame{height:13em;display:flex;align-items:center;justify-content:center;background:#f4f4f4}
img{max-width:100%;max-height:100%}figcaption{font-size:.85em;color:#555}b{color:#1a1a1a}
</style>
<h1>{{ title }}</h1>
<p>{{ found|length }} of {{ "{:,}".format(count) }} images, the most similar first, by {{ model }}.
{% if query %}<br>Looked for: <img src="{{ query }}" alt="the image that was looked for" style="height:6em;vertical-align:middle">{% endif %}</p>
<main>{% for f in found %}<figure><div class="frame">{% if f.source %}<img loading="lazy" src="{{ f.source }}" alt="{{ f.image }}">{% else %}{{ f.why }}{% endif %}</div>
<figcaption><b>{{ loop.index }}. cosine {{ "%.3f"|format(f.cosine) }}</b><br>{{ f.image }}</figcaption></figure>{% endfor %}</main></html>
"""


def write(
    path: Path, found: Sequence[Found], *, text: str, image: Path | None, count: int, model: str
) -> None:
    """Write results by the kind of the file.

    Args:
        text, image: what was looked for.
        count: images of the index.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        _write(draft, path.suffix, found, text=text, image=image, count=count, model=model)


def _write(
    path: Path,
    kind: str,
    found: Sequence[Found],
    *,
    text: str,
    image: Path | None,
    count: int,
    model: str,
) -> None:
    if kind == ".html":
        path.write_text(_page(found, text, image, count, model), encoding="utf-8")
    elif kind == ".json":
        content = {
            "text": text,
            "image": printable(str(image)) if image else None,
            "found": plain(found),
        }
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    else:
        import pandas as pd

        frame = pd.DataFrame(plain(found))
        if kind == ".csv":
            write_csv(path, frame)
        else:
            frame.to_parquet(path, index=False)


def _page(found: Sequence[Found], text: str, image: Path | None, count: int, model: str) -> str:
    shown = []
    for one in found:
        source, why = _thumbnail(one)
        shown.append({"image": one.image, "cosine": one.cosine, "source": source, "why": why})
    return Environment(autoescape=True).from_string(PAGE).render(
        title=text or printable(f"Like {image}"), mark=MARK, found=shown, count=count, model=model,
        query=images.data_address(images.read(image), SIDE) if image else "",
    )  # fmt: skip


def _thumbnail(found: Found) -> tuple[str, str]:
    """A small picture, or why there is none (any more)."""
    entry = found.entry
    try:
        if entry.kind == "files":
            return images.data_address(images.read(Path(entry.path)), SIDE), ""
        for name, content in Unit(entry.kind, Path(entry.path), group=entry.group).read():
            if name == entry.name and not isinstance(content, Exception):
                return images.data_address(images.read(content), SIDE), ""
    except (images.BadImage, InputError, OSError) as error:
        return "", str(error)
    return "", f"no longer in {entry.path}"
