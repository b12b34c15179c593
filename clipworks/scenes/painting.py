"""Pictures of places in the miniature world: what stands in a kitchen, a street …

The CLIPs are pretrained on sharp, square ones with texts that name things and, half the time, the
place. The pictures to classify are squashed, small and blurred, as the contest's were.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from clipworks.kit import tables
from clipworks.kit.errors import InputError
from clipworks.kit.processes import spread
from clipworks.miniature.glyphs import place
from clipworks.miniature.params import Scene
from clipworks.miniature.places import SCENES
from clipworks.scenes import folder
from clipworks.scenes.params import Miniature, Split

# Streams of random numbers: a split never shares a picture with another.
STREAMS = {"pretrain": 10, "validation": 11, "test": 12}
Stream = Literal["pretrain", "validation", "test"]


def things_of(places: Sequence[str]) -> list[str]:
    """All that stands in some places."""
    return sorted({thing for where in places for thing in SCENES[where]})


def check(places: Sequence[str]) -> None:
    """Raises InputError for places that the miniature world does not have."""
    if unknown := sorted(set(places) - set(SCENES)):
        raise InputError(f"base.places: no such place: {unknown}; allowed are {sorted(SCENES)}")
    if len(set(places)) < max(2, len(places)):
        raise InputError("base.places: at least two are needed, each once")


def paint(
    style: Scene, places: Sequence[str], c: int, *, seed: int, stream: Stream, index: int
) -> tuple[Image.Image, list[str]]:
    """A picture of place number `c`, and the things in it; strangers come from the other places.

    It depends on its arguments alone, so it is the same in any order and any process.
    """
    rng = np.random.default_rng([seed, STREAMS[stream], index])
    canvas = _background(style.side, rng)
    # A place has its leading and its rare things: weights fall along its list.
    members = SCENES[places[c]]
    weights = 1.0 / np.arange(1, len(members) + 1)
    count = min(int(rng.integers(style.objects[0], style.objects[1] + 1)), len(members))
    chosen = rng.choice(len(members), count, replace=False, p=weights / weights.sum())
    cast: list[str | None] = [members[i] for i in chosen]
    anything = things_of(places)
    cast = [
        anything[rng.integers(len(anything))] if rng.random() < style.stranger else name
        for name in cast
    ]
    cast += [None] * int(rng.integers(style.distractors + 1))
    small, large = (style.side * share for share in style.object_size)
    # One thing a quarter of the picture, so that none hides another.
    quarters = rng.permutation([(0.28, 0.28), (0.72, 0.28), (0.28, 0.72), (0.72, 0.72)])
    for name, quarter in zip(cast, quarters, strict=False):
        x, y = (quarter + rng.uniform(-0.06, 0.06, 2)) * style.side
        color = tuple(int(v) for v in rng.uniform(0, 150, 3))
        size = float(rng.uniform(small, large))
        place(canvas, name, rng=rng, size=size, center=(x, y), color=color, tilt=style.tilt)  # type: ignore[arg-type]
    return canvas, [name for name in cast if name is not None]


def _background(side: int, rng: np.random.Generator) -> Image.Image:
    """A light field of soft colours, the same for all places: only the things tell them apart."""
    cells = int(rng.integers(2, 6))
    colors = np.clip(rng.uniform(170, 235, 3) + rng.normal(0, 10, (cells, cells, 3)), 90, 255)
    return Image.fromarray(colors.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def write_split(
    params: Miniature,
    places: Sequence[str],
    out: Path,
    *,
    stream: Split,
    seed: int,
) -> list[int]:
    """Paint a split in the contest's layout; returns the label of each picture.

    Labels are drawn, so that the order of the files says nothing.
    """
    count = getattr(params, stream)
    labels = np.arange(count) % len(places)
    np.random.default_rng([seed, STREAMS[stream]]).shuffle(labels)
    pictures = out / folder.PICTURES / "all"
    pictures.mkdir(parents=True, exist_ok=True)
    tables.write_json(out / folder.CLASSES, list(places))
    work = partial(_write_one, params, tuple(places), pictures, stream, seed)
    spread(work, range(count), labels.tolist(), what=f"paint {stream}")
    return labels.tolist()


def _write_one(
    params: Miniature,
    places: tuple[str, ...],
    out: Path,
    stream: Stream,
    seed: int,
    index: int,
    c: int,
) -> None:
    picture, _ = paint(params.scene, places, c, seed=seed, stream=stream, index=index)
    small = picture.resize((params.width, params.height), Image.Resampling.BICUBIC)
    blurred = small.filter(ImageFilter.GaussianBlur(params.blur))
    blurred.save(out / f"{index}.jpg", quality=params.quality)


def pairs(
    style: Scene, places: Sequence[str], *, count: int, seed: int
) -> tuple[np.ndarray, list[list[str]]]:
    """Sharp pictures of the places, and the nouns that each one's text names.

    Returns:
        uint8 pictures of shape (picture, 3, side, side), and for each the nouns: the things
        in it and, half the time, the place.
    """
    work = partial(_pair, style, tuple(places), seed)
    rows = spread(work, range(count), what="paint")
    pictures = np.stack([row[0] for row in rows]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pictures), [row[1] for row in rows]


def _pair(
    style: Scene, places: tuple[str, ...], seed: int, index: int
) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng([seed, STREAMS["pretrain"], index, 1])
    c = int(rng.integers(len(places)))
    picture, things = paint(style, places, c, seed=seed, stream="pretrain", index=index)
    named = sorted(set(things))
    return np.asarray(picture), [*named, places[c]] if rng.random() < 0.5 else named
