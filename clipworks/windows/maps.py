"""Windows read off maps: the trunk runs once per size of window, not once per window.

Crops keep the centre square of a window ("shortest"). Windows whose squares are equally large share
a map: the whole image, resized so that the square is as large as the tower's input (times
`resolution`), goes through the trunk once. A window is then a grid of points of that map (`density`
for each cell of its side), bilinearly between its cells, which the attention pool takes as it takes a crop's positions
(without positional embedding: a window has no place of its own).

All but the softmax is linear in the map, so keys, values and dense features are projected once per
map, and queries meet keys and values at its cells: what is sampled is logits, not features.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clipworks.clip import visual
from clipworks.clip.backbone import Backbone
from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float, Int, UInt8
from clipworks.windows import crops
from clipworks.windows.boxes import Box
from clipworks.windows.params import STRIDE, Maps


def check(backbone: Backbone) -> None:
    """Raises InputError, naming the model, where its windows cannot be read off maps."""
    tower: Any = backbone.model.visual
    if not hasattr(tower, "attnpool"):
        raise InputError(
            f"infer.windows: the tower of {backbone.name} is a {type(tower).__name__}, whose tokens "
            "have all seen the whole image; maps need a ModifiedResNet: use crops"
        )
    if backbone.resize_mode != "shortest":
        raise InputError(
            f"infer.windows: {backbone.name} resizes by {backbone.resize_mode!r}; maps have the "
            "centre squares of 'shortest' only: use crops"
        )


@dataclass(frozen=True)
class Part:
    """A resized image, or a tile of it, and the windows to be read off it.

    Points lie between cells: 0 is the middle of the first cell of the part.
    """

    pixels: UInt8[Tensor, "3 height width"]  # sides are multiples of STRIDE
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
    *,
    size: int,
    largest: int,
    reach: int,
) -> list[Part]:
    """The image once per size of its windows' squares, in tiles where that is too large.

    A map's sides are rounded to whole cells, so that no window ends beyond the last one. Tiles
    overlap by what the trunk sees around a cell, so they change nothing but the memory it takes;
    what no window needs is left out.

    Args:
        size: the tower's input.
        largest: pixels of a tile; one window's surroundings are taken whatever they are.
        reach: see `reach`.
    """
    height, width = image.shape[1:]
    found = []
    samples = how.samples(size)
    for side, members in _sizes(boxes, how.tolerance):
        scale = size * how.resolution / side
        columns, rows = (max(1, round(x * scale / STRIDE)) for x in (width, height))
        squares = torch.tensor([_square(boxes[i]) for i in members], dtype=torch.float64)
        steps = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
        left, top, extent = (squares[:, i, None] for i in range(3))
        across = ((left + extent * steps) * (columns / width) - 0.5).clamp(0, columns - 1)
        down = ((top + extent * steps) * (rows / height) - 0.5).clamp(0, rows - 1)
        resized = crops.resize(image, rows * STRIDE, columns * STRIDE)
        for some in _tiles(across, down, (columns, rows), largest // STRIDE**2, reach):
            x, y = _span(across[some], columns, reach), _span(down[some], rows, reach)
            tile = resized[:, y[0] * STRIDE : y[1] * STRIDE, x[0] * STRIDE : x[1] * STRIDE]
            points = (across[some] - x[0]).float(), (down[some] - y[0]).float()
            found.append(Part(tile, [members[i] for i in some], *points))
    return found


def reach(tower: Any) -> int:
    """How many cells around a cell of its last map a ModifiedResNet looks at.

    A convolution of 3 x 3 sees one step around, and its step is the stride so far.
    """
    pixels, stride = 1 + 2 + 2, 4  # the stem: at full size, then at half
    for layer in (tower.layer1, tower.layer2, tower.layer3, tower.layer4):
        for block in layer:
            pixels += stride
            stride *= block.stride
    return math.ceil(pixels / STRIDE)


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


def _tiles(
    across: Tensor, down: Tensor, cells: tuple[int, int], largest: int, reach: int
) -> list[list[int]]:
    """Split windows into halves, across the longer side, until each part's tile is small enough."""
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


@dataclass(frozen=True)
class Projected:
    """Maps with everything that the attention pool makes of a cell."""

    cells: Float[Tensor, "map cell channel"]
    keys: Float[Tensor, "map head cell width"]
    values: Float[Tensor, "map head cell width"]
    dense: Float[Tensor, "map cell dim"]


def project(tower: Any, images: Float[Tensor, "map 3 height width"]) -> Projected:
    """Run the trunk and project its maps once, whatever the number of windows."""
    pool = tower.attnpool
    cells = visual.trunk(tower, images).flatten(2).transpose(1, 2)
    keys, values = pool.k_proj(cells), pool.v_proj(cells)
    return Projected(cells, _heads(pool, keys), _heads(pool, values), pool.c_proj(values))


def _heads(pool: Any, x: Tensor) -> Tensor:
    return x.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)


def corners(
    part: Part, device: torch.device
) -> tuple[Int[Tensor, "window point 4"], Float[Tensor, "window point 4"]]:
    """The four cells around each of a window's sample x sample points, and their bilinear shares."""
    rows, columns = (side // STRIDE for side in part.pixels.shape[1:])

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


def read(
    tower: Any,
    maps: Projected,
    index: Int[Tensor, "window point 4"],
    share: Float[Tensor, "window point 4"],
) -> tuple[Float[Tensor, "map window dim"], Float[Tensor, "map window point dim"]]:
    """Pooled and dense features of the same windows of every map, L2-normed.

    The pool's first token, and its only query, is the mean of the window's points. Its logit is
    the mean of their logits, and its value the mean of their values.
    """
    pool, points = tower.attnpool, index.shape[1]
    mean = _bags(maps.cells, index.flatten(1), share.flatten(1) / points)
    query = _heads(pool, pool.q_proj(mean))
    at_cells = (query @ maps.keys.transpose(-1, -2)).float() / math.sqrt(query.shape[-1])
    place = index.flatten(1).expand(*at_cells.shape[:2], -1, -1)
    logits = (at_cells.gather(-1, place).unflatten(-1, (points, 4)) * share).sum(dim=-1)
    weight = torch.cat([logits.mean(dim=-1, keepdim=True), logits], dim=-1).softmax(dim=-1)
    weight = weight[..., 1:] + weight[..., :1] / points
    spread = (weight[..., None] * share).flatten(-2)
    at_cells = torch.zeros_like(at_cells).scatter_add_(-1, place, spread)
    mixed = at_cells.to(maps.values.dtype) @ maps.values
    pooled = pool.c_proj(mixed.transpose(1, 2).flatten(2))
    dense = _bags(maps.dense, index.flatten(0, 1), share.flatten(0, 1)).unflatten(1, (-1, points))
    return F.normalize(pooled.float(), dim=-1), F.normalize(dense, dim=-1)


def _bags(cells: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Weighted sums of some cells of each map: (map, cell, dim), (item, few) -> (map, item, dim)."""
    count, size = cells.shape[:2]
    first = torch.arange(count, device=cells.device)[:, None, None] * size
    rows = (index + first).flatten(0, 1)
    weights = share.expand(count, -1, -1).flatten(0, 1)
    table = cells.flatten(0, 1).float()
    found = F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
    return found.unflatten(0, (count, -1))
