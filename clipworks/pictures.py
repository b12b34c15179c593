"""Pictures that explain predictions: the windows that decided, on the images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from safetensors import safe_open

from clipworks import images, manifest

PANEL = 300  # pixels
RIGHT, WRONG = (20, 130, 60), (200, 30, 40)
PAGE = """<!doctype html><meta charset="utf-8"><title>What decided</title>
<style>body{{font:15px/1.5 system-ui;margin:2em}}img{{display:block;margin:.5em 0}}</style>
<h1>What decided</h1><p>Left: predictions that are right, right: predictions that are wrong, each
with the window that spoke for it most. Below: what was missed.</p>{images}
"""


@dataclass(frozen=True)
class Vote:
    """A predicted class and the box of the window that spoke for it most."""

    name: str
    box: tuple[int, int, int, int]
    right: bool


@dataclass(frozen=True)
class Shown:
    """What is drawn: images of a folder, their labels and logits, and where their windows lie."""

    folder: Path
    files: Sequence[str]
    labels: np.ndarray  # (image, class), at least as many rows as files
    logits: np.ndarray  # likewise
    windows: np.ndarray  # likewise: the window that decided each class
    boxes: Path  # where the infer stage stored them


def page(out: Path, shown: Shown, class_names: Sequence[str]) -> None:
    """Draw images, each predicted as many classes as it has (at least one), and index.html."""
    out.mkdir(parents=True, exist_ok=True)
    shards = manifest.read(shown.boxes)["shards"]
    tags = []
    for row, name in enumerate(shown.files):
        truth = shown.labels[row]
        chosen = np.argsort(-shown.logits[row], kind="stable")[: max(1, int(truth.sum()))].tolist()
        boxes = _boxes(shown.boxes, shards, name)
        votes = [Vote(class_names[i], boxes[shown.windows[row, i]], bool(truth[i])) for i in chosen]
        missed = [class_names[int(c)] for c in np.flatnonzero(truth) if c not in chosen]
        # The infer stage has read this image already, so its size is no question any more.
        picture = draw(images.read(shown.folder / name, max_pixels=10**10), votes, missed)
        target = f"{row:03d}.png"
        picture.save(out / target, compress_level=1)  # three times as fast, a fifth larger
        tags.append(f'<img src="{target}" alt="{name}">')
    (out / "index.html").write_text(PAGE.format(images="\n".join(tags)), encoding="utf-8")


def draw(image: Image.Image, votes: Sequence[Vote], missed: Sequence[str]) -> Image.Image:
    """Two panels side by side: right votes and wrong votes, with their boxes."""
    scale = PANEL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BICUBIC)
    sheet = Image.new("RGB", (2 * PANEL + 12, size[1] + 22), "white")
    pen = ImageDraw.Draw(sheet)
    for panel, (right, color) in enumerate(((True, RIGHT), (False, WRONG))):
        left = panel * (PANEL + 12)
        sheet.paste(small, (left, 0))
        for line, vote in enumerate(vote for vote in votes if vote.right == right):
            x0, y0, x1, y1 = (round(value * scale) for value in vote.box)
            # Equal boxes stay apart, as far as there is room in them.
            inset = max(0, min(2 * line, (x1 - x0 - 3) // 2, (y1 - y0 - 3) // 2))
            x1, y1 = max(x0 + inset, x1 - 1 - inset), max(y0 + inset, y1 - 1 - inset)
            pen.rectangle((left + x0 + inset, y0 + inset, left + x1, y1), outline=color, width=2)
            place = (left + x0 + inset + 3, y0 + inset + 2 + 13 * line)
            pen.rectangle(pen.textbbox(place, vote.name, _font()), fill=color)
            pen.text(place, vote.name, fill="white", font=_font())
    note = "missed: " + ", ".join(missed) if missed else "nothing missed"
    pen.text((2, size[1] + 4), note, fill="black", font=_font())
    return sheet


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(11)


def _boxes(
    infer: Path, shards: Sequence[dict[str, Any]], name: str
) -> list[tuple[int, int, int, int]]:
    """An image's boxes as stored; the first is the whole image."""
    for shard in shards:
        if name in shard["images"]:
            place = shard["images"].index(name)
            with safe_open(str(infer / shard["file"]), framework="np") as file:
                begin, end = file.get_tensor("offsets")[place : place + 2]
                boxes = file.get_slice("boxes")[int(begin) : int(end)]
            return [tuple(box) for box in boxes.tolist()]
    raise ValueError(f"{infer} holds no windows of {name}")
