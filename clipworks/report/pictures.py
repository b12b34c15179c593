"""Pictures that explain predictions: the windows that decided, and what was there."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from PIL import Image, ImageDraw, ImageFont

from clipworks.kit import images, tables

SIDE = 420  # pixels of a picture's longer side on the page
RIGHT, WRONG, MISSED, UNKNOWN = "#14823c", "#c81e28", "#2255cc", "#a65d00"
Box = Sequence[float | int]  # left, top, right, bottom in pixels

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>What decided</title>
<style>body{font:15px/1.5 system-ui;margin:2em;max-width:80em}
h2{font-size:1em;margin:1.5em 0 .5em;overflow-wrap:anywhere}
figure{display:inline-block;vertical-align:top;margin:0 1.5em 1em 0;max-width:{{ side }}px}
img{max-width:100%}td{padding:0 .8em 0 0}td.n{text-align:right}
.right{color:{{ right }}}.wrong{color:{{ wrong }}}.missed{color:{{ missed }}}
.unknown{color:{{ unknown }}}</style>
<h1>What decided</h1>
<p>Each picture is given the tags whose logits exceed their class's threshold, which was chosen without
the test labels: {{ rule }}. The row of the leaderboard stands below. Solid boxes are the windows that
spoke for a tag most, numbered as the tags{% if known %}: <span class="right">green is right</span>,
<span class="wrong">red is wrong</span>, <span class="unknown">brown was not judged</span>. Dashed <span class="missed">blue</span> boxes are objects whose
class was missed{% endif %}.</p>
{% for one in pictures %}<section><h2>{{ one.name }}</h2>
{% for f in one.figures %}<figure><img src="{{ f.file }}" alt="{{ one.name }}, {{ f.row }}">
<figcaption><b>{{ f.row }}</b><table>{% for line in f.lines %}<tr class="{{ line.verdict }}">
<td>{{ line.mark }}</td><td>{{ line.tag }}</td><td class="n">{{ "%.2f"|format(line.logit) }}</td>
<td>{{ line.verdict }}</td></tr>{% endfor %}</table></figcaption></figure>
{% endfor %}</section>{% endfor %}</html>
"""


@dataclass(frozen=True)
class Shown:
    """An image with what it shows, its windows, and what the rows predict."""

    name: str
    image: Image.Image
    labels: np.ndarray | None  # (class,), 1, 0 or -1 (not judged); None where nothing is known
    boxes: Sequence[Box]  # the first is the whole image
    objects: Sequence[tuple[int, Box]]  # what is annotated: class and box
    views: Sequence["View"]


@dataclass(frozen=True)
class View:
    """What a row of the leaderboard predicts for an image, and the windows behind that."""

    row: str
    logits: np.ndarray  # (class,)
    windows: np.ndarray  # (class,): the window that decided, as an index into boxes
    thresholds: np.ndarray  # (class,): logits above them are tags


def views(
    rows: Mapping[str, np.ndarray],
    windows: Mapping[str, np.ndarray],
    thresholds: Mapping[str, np.ndarray],
) -> Iterator[list[View]]:
    """What each row predicts for each image in turn, for the rows whose windows are known.

    Args:
        rows: logits of shape (image, class) by row.
        windows: what decided, of the same shape, by row.
        thresholds: of shape (class,), by row.
    """
    for i in range(min(map(len, windows.values()), default=0)):
        yield [
            View(row, rows[row][i], decided[i], thresholds[row])
            for row, decided in sorted(windows.items())
        ]


@dataclass(frozen=True)
class Line:
    """A tag that was given or missed, and its boxes on the picture."""

    mark: str  # a number on the picture
    tag: str
    logit: float
    verdict: str  # right, wrong or missed; empty where nothing is known
    boxes: Sequence[Box]


def page(out: Path, shown: Iterable[Shown], class_names: Sequence[str], *, rule: str = "") -> None:
    """Write a picture of each image for each row that is shown of it, and index.html.

    Args:
        rule: how the thresholds were chosen, for people.
    """
    out.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    known = False
    for number, one in enumerate(shown):
        known |= one.labels is not None
        figures = []
        for view in one.views:
            tags = lines(one, view, class_names)
            file = f"{number:03d}-{view.row}.png"
            draw(one.image, tags).save(out / file, compress_level=1)  # fast; a fifth larger
            figures.append({"file": file, "row": view.row, "lines": tags})
        found.append({"name": one.name, "figures": figures})
    tables.write_json(
        out / "pictures.json",
        [{**one, "figures": [_plain(f) for f in one["figures"]]} for one in found],
    )
    page = Environment(autoescape=True).from_string(PAGE)
    colors = {"right": RIGHT, "wrong": WRONG, "missed": MISSED, "unknown": UNKNOWN}
    text = page.render(pictures=found, side=SIDE, rule=rule, known=known, **colors)
    (out / "index.html").write_text(text, encoding="utf-8")


def _plain(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure as JSON holds it, for the page of the whole run."""
    told = [
        {"mark": x.mark, "tag": x.tag, "logit": round(x.logit, 4), "verdict": x.verdict}
        for x in figure["lines"]
    ]
    return {**figure, "lines": told}


def lines(one: Shown, view: View, class_names: Sequence[str]) -> list[Line]:
    """The tags that an image is given, farthest over their thresholds first, then those it was not."""
    over = view.logits - view.thresholds
    chosen = [c for c in np.argsort(-over, kind="stable").tolist() if over[c] > 0]
    verdicts = {1: "right", 0: "wrong"}
    found = [
        Line(
            str(number),
            class_names[c],
            float(view.logits[c]),
            "" if one.labels is None else verdicts.get(int(one.labels[c]), ""),
            [one.boxes[view.windows[c]]],
        )
        for number, c in enumerate(chosen, 1)
    ]
    shown = [] if one.labels is None else np.flatnonzero(one.labels == 1).tolist()
    for c in (c for c in shown if c not in chosen):
        boxes = [box for name, box in one.objects if name == c]
        number = str(len(found) + 1)
        found.append(Line(number, class_names[c], float(view.logits[c]), "missed", boxes))
    return found


def read(path: Path, boxes: Sequence[Box]) -> Image.Image:
    """An image, or a grey one of its size where it went since its windows were scored."""
    try:
        return images.read(path)
    except images.BadImage as error:
        print(f"{path}: {error}: grey on the page", file=sys.stderr)
        return Image.new("RGB", (int(boxes[0][2]), int(boxes[0][3])), "#888888")


def draw(image: Image.Image, found: Sequence[Line]) -> Image.Image:
    """The picture with numbered boxes; names stand beside it, where they cannot collide."""
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    sheet = image.resize(size, Image.Resampling.BICUBIC).convert("RGB")
    pen = ImageDraw.Draw(sheet)
    colors = {"right": RIGHT, "wrong": WRONG, "missed": MISSED, "": UNKNOWN}
    taken: list[Box] = []
    for line in found:
        for box in line.boxes:
            x0, y0, x1, y1 = (value * scale for value in box)
            x1, y1 = max(x0, min(x1, size[0]) - 1), max(y0, min(y1, size[1]) - 1)
            if line.verdict == "missed":
                _dashed(pen, (x0, y0, x1, y1), colors[line.verdict])
            else:
                pen.rectangle((x0, y0, x1, y1), outline=colors[line.verdict], width=2)
            _mark(pen, line.mark, (x0, y0), colors[line.verdict], taken)
    return sheet


def _mark(
    pen: ImageDraw.ImageDraw,
    text: str,
    corner: Sequence[float | int],
    color: str,
    taken: list[Box],
) -> None:
    """A number at a box's corner, moved right past the numbers that are there already."""
    font = ImageFont.load_default(13)
    x, y = corner[0] + 2, corner[1] + 2
    while True:
        x0, y0, x1, y1 = pen.textbbox((x, y), text, font)
        hit = next((t for t in taken if x0 < t[2] and t[0] < x1 and y0 < t[3] and t[1] < y1), None)
        if hit is None:
            break
        x = hit[2] + 4
    pen.rectangle((x0 - 2, y0 - 2, x1 + 2, y1 + 2), fill=color)
    pen.text((x, y), text, fill="white", font=font)
    taken.append((x0 - 2, y0 - 2, x1 + 2, y1 + 2))


def _dashed(pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], color: str) -> None:
    x0, y0, x1, y1 = box
    for (ax, ay), (bx, by) in (
        ((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0)),
    ):  # fmt: skip
        steps = max(1, int((abs(bx - ax) + abs(by - ay)) // 8))
        for k in range(0, steps, 2):
            a, b = k / steps, min(1.0, (k + 1) / steps)
            start, end = (
                (ax + (bx - ax) * a, ay + (by - ay) * a),
                (ax + (bx - ax) * b, ay + (by - ay) * b),
            )
            pen.line([start, end], fill=color, width=2)
