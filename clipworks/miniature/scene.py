"""The miniature world: scenes of glyphs on varied backgrounds, with clutter.

A picture depends on (seed, stream, index) alone, so it is the same in any order and any process.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from clipworks.kit.errors import InputError
from clipworks.miniature.glyphs import CLASS_GLYPHS, Placed, place
from clipworks.miniature.params import Scene
from clipworks.miniature.places import SCENES

# Streams of random numbers: a split never shares a picture with another.
STREAMS = {"pretrain": 0, "validation": 1, "test": 2}


def check_glyphs(class_names: Sequence[str], *, drawn: Sequence[str]) -> None:
    """Raises InputError naming the classes that the miniature world cannot draw.

    Args:
        drawn: which sections of params.yaml draw it: world, backbone or both.
    """
    instead = {"world": "world.source=coco", "backbone": "backbone.source=pretrained"}
    if unknown := sorted(set(class_names) - set(CLASS_GLYPHS)):
        raise InputError(
            f"the miniature world has no glyph for {unknown[:8]}"
            f"{f' and {len(unknown) - 8} more' if len(unknown) > 8 else ''}; choose classes of "
            f"data/classes/miniature.txt, or {' and '.join(instead[section] for section in drawn)}"
        )


def paint(
    style: Scene, classes: Sequence[str], *, seed: int, stream: str, index: int
) -> tuple[Image.Image, list[Placed]]:
    """One picture and the objects in it (distractors and clutter are not listed)."""
    rng = np.random.default_rng([seed, STREAMS[stream], index])
    canvas = _background(style.side, rng)
    _clutter(canvas, int(rng.integers(style.clutter + 1)), rng)
    low, high = style.objects
    # Few objects are more common than many, as in photographs.
    weights = 1.0 / np.arange(1, high - low + 2) ** 0.5
    count = low + int(rng.choice(len(weights), p=weights / weights.sum()))
    names: list[str | None] = [*_cast(style, classes, count, rng)]
    names += [None] * int(rng.integers(style.distractors + 1))
    taken: list[tuple[float, float, float]] = []
    placed = []
    for name in names:
        small, large = style.object_size
        if len(names) > 2:  # a crowd leaves less room to each
            large = max(small, large * 2.0 / len(names) ** 0.75)
        size = style.side * float(np.exp(rng.uniform(np.log(small), np.log(large))))
        center = _free_spot(style.side, size, taken, rng)
        taken.append((*center, size))
        color = _dark_color(rng)
        done = place(canvas, name, rng=rng, size=size, center=center, color=color, tilt=style.tilt)
        if name is not None:
            placed.append(done)
    noise = rng.normal(0, 6, (style.side, style.side, 3))
    pixels = np.clip(np.asarray(canvas, np.float32) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels), placed


def _cast(style: Scene, classes: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    known = {scene: [m for m in members if m in classes] for scene, members in SCENES.items()}
    scenes = [scene for scene, members in known.items() if members]
    members = known[scenes[rng.integers(len(scenes))]]
    # Each scene has its leading and its rare members: weights fall along the list.
    weights = 1.0 / np.arange(2, len(members) + 2) ** 0.5
    order = rng.choice(len(members), len(members), replace=False, p=weights / weights.sum())
    cast = [members[i] for i in order[:count]]
    return [
        classes[int(rng.integers(len(classes)))] if rng.random() < style.stranger else name
        for name in cast
    ]


def _free_spot(
    side: int, size: float, taken: list[tuple[float, float, float]], rng: np.random.Generator
) -> tuple[float, float]:
    """The least crowded of some random places; objects may overlap a little."""
    margin = size * 0.45
    best, best_gap = (side / 2, side / 2), -np.inf
    for _ in range(12):
        x, y = rng.uniform(margin, side - margin, 2)
        gaps = [np.hypot(x - a, y - b) - 0.45 * (size + s) for a, b, s in taken]
        gap = min(gaps, default=0.0)
        if gap > best_gap:
            best, best_gap = (float(x), float(y)), gap
        if gap >= 0:
            break
    return best


def _background(side: int, rng: np.random.Generator) -> Image.Image:
    """A light field of blurred colours: glyphs are dark, so they stand out but not by colour."""
    cells = int(rng.integers(2, 7))
    base = rng.uniform(150, 235, 3)
    field = np.clip(base + rng.normal(0, 28, (cells, cells, 3)), 90, 255).astype(np.uint8)
    canvas = Image.fromarray(field).resize((side, side), Image.Resampling.BICUBIC)
    return canvas.filter(ImageFilter.GaussianBlur(side / 64))


def _clutter(canvas: Image.Image, count: int, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(canvas)
    for _ in range(count):
        x, y = rng.uniform(0, canvas.width, 2)
        w, h = rng.uniform(0.02, 0.12, 2) * canvas.width
        box = (float(x), float(y), float(x + w), float(y + h))
        shape = (draw.rectangle, draw.ellipse, draw.line)[rng.integers(3)]
        shape(box, fill=_dark_color(rng))


def _dark_color(rng: np.random.Generator) -> tuple[int, int, int]:
    r, g, b = (int(v) for v in rng.uniform(0, 150, 3))
    return r, g, b
