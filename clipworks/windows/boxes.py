"""Boxes of the sliding windows: several scales and shapes, spaced evenly from edge to edge."""

from collections.abc import Sequence
from typing import NamedTuple

from clipworks.kit.errors import InputError


class Box(NamedTuple):
    """A window in pixels: left and top inclusive, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int


def boxes(width: int, height: int, scales: Sequence[int]) -> list[Box]:
    """All windows of an image; those of a scale that a small image makes equal are listed once.

    For each scale s: squares of 1/s of the sides on a 2s x 2s grid; 1/s x 2/s on 2s x s; 1/s x 1.5/s
    on floor(4s/3) x 2; from s = 3 on 2/s x 3/s on s x floor(2s/3); and the transposes of the last
    three. That makes 40, 100 and 164 windows at scales 2, 3 and 4. A window as long as the image
    cannot move along it, so its grid points all go to the other side.

    Raises:
        InputError: an empty image, or a scale below 2.
    """
    if width < 1 or height < 1:
        raise InputError(f"an image of {width} x {height} pixels has no windows")
    found: list[Box] = []
    for scale in scales:
        if scale < 2:
            raise InputError(
                f"scale {scale}: windows begin at scale 2 (scale 1 is the whole image)"
            )
        distinct: dict[Box, None] = {}
        for (x, y), (columns, rows) in _grids(scale):
            w, h = max(1, round(width * x)), max(1, round(height * y))
            if w == width:
                columns, rows = 1, columns * rows
            elif h == height:
                columns, rows = columns * rows, 1
            for top in _starts(height - h, rows):
                for left in _starts(width - w, columns):
                    distinct[Box(left, top, left + w, top + h)] = None
        found += distinct
    return found


def _grids(s: int) -> list[tuple[tuple[float, float], tuple[int, int]]]:
    """((width, height) as shares of the image, (columns, rows)) of each shape at scale s."""
    slender = [((1 / s, 2 / s), (2 * s, s)), ((1 / s, 1.5 / s), (4 * s // 3, 2))]
    if s >= 3:
        slender.append(((2 / s, 3 / s), (s, 2 * s // 3)))
    turned = [((y, x), (rows, columns)) for (x, y), (columns, rows) in slender]
    return [((1 / s, 1 / s), (2 * s, 2 * s)), *slender, *turned]


def _starts(room: int, count: int) -> list[int]:
    """`count` offsets from 0 to `room`, evenly spaced and rounded."""
    if count == 1:
        return [room // 2]
    return [round(room * i / (count - 1)) for i in range(count)]
