"""Painting a split of the miniature world to disk."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from clipworks.kit.processes import spread
from clipworks.miniature.glyphs import Placed
from clipworks.miniature.params import Scene
from clipworks.miniature.scene import paint


def paint_split(
    style: Scene, classes: Sequence[str], folder: Path, *, stream: str, count: int, seed: int
) -> list[tuple[str, int, list[Placed]]]:
    """Paint `count` scenes as PNG; returns (file name, side, objects) of each."""
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(_one, style, tuple(classes), folder, stream, seed)
    return spread(work, range(count), what=f"paint {stream}")


def _one(
    style: Scene, classes: tuple[str, ...], folder: Path, stream: str, seed: int, index: int
) -> tuple[str, int, list[Placed]]:
    image, placed = paint(style, classes, seed=seed, stream=stream, index=index)
    name = f"{stream}_{index:06d}.png"
    image.save(folder / name)
    return name, style.side, placed
