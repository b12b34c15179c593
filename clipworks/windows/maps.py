"""Windows read off maps: the tower runs once per size of window, not once per window.

Crops keep the centre square of a window ("shortest"). Windows whose squares are equally large share
a map: the whole image, resized so that the square is as large as the tower's input (times
`resolution`), goes through the tower once. A window is then a grid of points of that map (`density`
for each cell of its side), bilinearly between its cells; clipworks.windows.readers makes features
of them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clipworks.clip.backbone import Backbone
from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float, Int, UInt8
from clipworks.windows import crops, readers
from clipworks.windows.boxes import Box
from clipworks.windows.params import Maps
from clipworks.windows.readers import Reader


def reader(backbone: Backbone, how: Maps) -> Reader:
    """What reads windows off this backbone's maps.

    Raises:
        InputError: with the model's name, where that cannot be done.
    """
    if backbone.resize_mode != "shortest":
        raise InputError(
            f"infer.windows: {backbone.name} resizes by {backbone.resize_mode!r}; maps have the "
            "centre squares of 'shortest' only: use crops"
        )
    tower = backbone.model.visual
    return readers.of(tower, backbone.image_size, how.resolution, backbone.name)


@dataclass(frozen=True)
class Part:
    """A resized image, or a tile of it, and the windows to be read off it.

    Points lie between cells: 0 is the middle of the first cell of the part.
    """

    pixels: UInt8[Tensor, "3 height width"]  # sides are whole cells
    stride: int  # pixels of a cell
    windows: list[int]  # places in the image's list of boxes
    across: Float[Tensor, "window sample"]
    down: Float[Tensor, "window sample"]

    @property
    def layout(self) -> tuple[Any, ...]:
        """Parts of equal layout can go through the tower and the pool together."""
        return (self.pixels.shape, self.across.numpy().tobytes(), self.down.numpy().tobytes())


def parts(
    image: UInt8[Tensor, "3 height width"],
    boxes: Sequence[Box],
    how: Maps,
    reader: Reader,
    *,
    size: int,
    largest: int,
) -> list[Part]:
    """The image once per size of its windows' squares, in tiles where that is too large.

    A map's sides are rounded to whole cells, so that no window ends beyond the last one. Tiles
    overlap by what the reader's tower sees around a cell; what no window needs is left out.

    Args:
        size: the tower's input.
        largest: pixels of a batch; one window's surroundings are taken whatever they are, and a
            tile may then be as large as they.
    """
    height, width = image.shape[1:]
    found = []
    stride, reach = reader.stride, reader.reach
    samples, cells = how.samples(size, stride), reader.largest(largest)
    for side, members in _sizes(boxes, how.tolerance):
        scale = size * how.resolution / side
        columns, rows = (max(1, round(x * scale / stride)) for x in (width, height))
        squares = torch.tensor([_square(boxes[i]) for i in members], dtype=torch.float64)
        steps = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
        left, top, extent = (squares[:, i, None] for i in range(3))
        across = ((left + extent * steps) * (columns / width) - 0.5).clamp(0, columns - 1)
        down = ((top + extent * steps) * (rows / height) - 0.5).clamp(0, rows - 1)
        resized = crops.resize(image, rows * stride, columns * stride)
        for some in _tiles(across, down, (columns, rows), cells, reach):
            x, y = _span(across[some], columns, reach), _span(down[some], rows, reach)
            tile = resized[:, y[0] * stride : y[1] * stride, x[0] * stride : x[1] * stride]
            points = (across[some] - x[0]).float(), (down[some] - y[0]).float()
            found.append(Part(tile, stride, [members[i] for i in some], *points))
    return found


def _square(box: Box) -> tuple[float, float, int]:
    """Left, top and side of the centre square, which is what a crop keeps of a window."""
    width, height = box.right - box.left, box.bottom - box.top
    side = min(width, height)
    return box.left + (width - side) / 2, box.top + (height - side) / 2, side


def _sizes(boxes: Sequence[Box], tolerance: float) -> Iterator[tuple[int, list[int]]]:
    """Windows by their square's side, largest first; sides within the tolerance share the largest."""
    waiting = sorted(range(len(boxes)), key=lambda i: -_square(boxes[i])[2])
    while waiting:
        side = _square(boxes[waiting[0]])[2]
        members = [i for i in waiting if _square(boxes[i])[2] * (1 + tolerance) >= side]
        waiting = waiting[len(members) :]
        yield side, sorted(members)


def _span(points: Tensor, cells: int, reach: int) -> tuple[int, int]:
    """First and last but one cell of what the points need."""
    low, high = math.floor(points.min()), math.ceil(points.max())
    return max(0, low - reach), min(cells, high + reach + 1)


def _extents(points: Tensor, cells: int, reach: int) -> Tensor:
    """Cells of each window's own span."""
    low, high = points.min(1).values.floor(), points.max(1).values.ceil()
    return (high + reach + 1).clamp(max=cells) - (low - reach).clamp(min=0)


def _tiles(
    across: Tensor, down: Tensor, cells: tuple[int, int], largest: int, reach: int
) -> list[list[int]]:
    """Split windows into halves, across the longer side, until each part's tile is small enough."""
    # Where all of a small map lies around each of its windows, halves would not be smaller than it.
    alone = _extents(across, cells[0], reach) * _extents(down, cells[1], reach)
    largest = max(largest, int(alone.max()))
    waiting, found = [list(range(len(across)))], []
    while waiting:
        some = waiting.pop()
        x, y = _span(across[some], cells[0], reach), _span(down[some], cells[1], reach)
        wide, high = x[1] - x[0], y[1] - y[0]
        if wide * high <= largest or len(some) == 1:
            found.append(sorted(some))
            continue
        points = across if wide >= high else down
        some.sort(key=lambda i: float(points[i].mean()))
        waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
    return found


def batches(waiting: Iterable[tuple[int, Part]], largest: int) -> Iterator[list[tuple[int, Part]]]:
    """Parts of equal layout together, at most `largest` pixels; each comes with its image's number."""
    layouts: dict[Any, list[tuple[int, Part]]] = {}
    for number, part in waiting:
        layouts.setdefault(part.layout, []).append((number, part))
    for alike in layouts.values():
        at_once = max(1, largest // alike[0][1].pixels[0].numel())
        for start in range(0, len(alike), at_once):
            yield alike[start : start + at_once]


def corners(
    part: Part, device: torch.device
) -> tuple[Int[Tensor, "window point 4"], Float[Tensor, "window point 4"]]:
    """The four cells around each of a window's sample x sample points, and their bilinear shares."""
    rows, columns = (side // part.stride for side in part.pixels.shape[1:])

    def two(points: Tensor, last: int) -> tuple[Tensor, Tensor]:
        low = points.floor()
        near = torch.stack([low, (low + 1).clamp(max=last)], dim=-1)
        return near.long(), torch.stack([low + 1 - points, points - low], dim=-1)

    (x, share_x), (y, share_y) = two(part.across, columns - 1), two(part.down, rows - 1)
    # (window, sample down, sample across, corner down, corner across)
    index = y[:, :, None, :, None] * columns + x[:, None, :, None, :]
    share = share_y[:, :, None, :, None] * share_x[:, None, :, None, :]
    flat = (len(x), -1, 4)
    return index.reshape(flat).to(device), share.reshape(flat).to(device)
