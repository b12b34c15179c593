"""What makes features of a map's points: the trunk and its projections once, windows by sampling.

All but the softmax of attention is linear in the map. So keys, values and dense features are projected
once per map, and a query meets the keys at the map's cells: what is sampled is logits, not features.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clipworks.clip import visual
from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float, Int

Index = Int[Tensor, "window point 4"]  # the cells around each point
Share = Float[Tensor, "window point 4"]  # and their bilinear shares


@dataclass(frozen=True)
class Projected:
    """Maps with everything that a ResNet's attention pool makes of a cell."""

    cells: Float[Tensor, "map cell channel"]
    keys: Float[Tensor, "map head cell width"]
    values: Float[Tensor, "map head cell width"]
    dense: Float[Tensor, "map cell dim"]


@dataclass(frozen=True)
class Asked:
    """Maps with what each block of a ViT makes of their tokens: the class token, then the cells."""

    keys: Float[Tensor, "block map head token width"]
    values: Float[Tensor, "block map head token width"]
    dense: Float[Tensor, "map cell dim"]


class Reader(ABC):
    """A tower whose windows can be read off maps."""

    stride: int  # pixels of a map's cell
    reach: int  # cells around a cell that must be in the picture with it

    @abstractmethod
    def largest(self, pixels: int) -> int:
        """Cells of the largest part, where a batch of the tower has so many pixels."""

    @abstractmethod
    def project(self, images: Float[Tensor, "map 3 height width"]) -> Any:
        """Run the trunk and project its maps once, whatever the number of windows."""

    @abstractmethod
    def read(
        self, maps: Any, index: Index, share: Share
    ) -> tuple[Float[Tensor, "map window dim"], Float[Tensor, "map window point dim"]]:
        """Pooled and dense features of the same windows of every map, L2-normed."""


def of(tower: Any, size: int, resolution: float, name: str) -> Reader:
    """The reader of an open_clip tower that takes images of `size` pixels.

    Args:
        resolution: a window's side on its map, as a multiple of that.

    Raises:
        InputError: with the model's name, for a tower of another kind.
    """
    if visual.is_resnet(tower):
        return ResNet(tower)
    visual.check(tower, name)
    if tower.attn_pool is not None or tower.pool_type != "tok":
        raise InputError(
            f"infer.windows: {name} does not pool by its class token, which is what asks for a "
            "window on a map; use crops"
        )
    return VisionTransformer(tower, size, resolution)


class ResNet(Reader):
    """A ModifiedResNet: its attention pool takes a window's points as it takes a crop's positions.

    Without positional embedding: a window has no place of its own.
    """

    stride = 32  # of all of open_clip's

    def __init__(self, tower: Any) -> None:
        self._tower = tower
        pixels, stride = 1 + 2 + 2, 4  # the stem: at full size, then at half
        # A convolution of 3 x 3 sees one step around, and its step is the stride so far.
        for layer in (tower.layer1, tower.layer2, tower.layer3, tower.layer4):
            for block in layer:
                pixels += stride
                stride *= block.stride
        self.reach = math.ceil(pixels / self.stride)  # so tiles change nothing but memory

    def largest(self, pixels: int) -> int:
        """See Reader. Tiles change nothing here, so they may follow the memory."""
        return pixels // self.stride**2

    def project(self, images: Float[Tensor, "map 3 height width"]) -> Projected:
        """See Reader."""
        pool = self._tower.attnpool
        cells = visual.trunk(self._tower, images).flatten(2).transpose(1, 2)
        keys, values = pool.k_proj(cells), pool.v_proj(cells)
        many = pool.num_heads
        return Projected(cells, _heads(keys, many), _heads(values, many), pool.c_proj(values))

    def read(self, maps: Projected, index: Index, share: Share) -> tuple[Tensor, Tensor]:
        """See Reader. The pool's first token, and its only query, is the mean of the window's
        points: its logit is the mean of their logits, and its value the mean of their values."""
        pool, points = self._tower.attnpool, index.shape[1]
        mean = _bags(maps.cells, index.flatten(1), share.flatten(1) / points)
        query = _heads(pool.q_proj(mean), pool.num_heads)
        logits = _logits(query, maps.keys, index, share)
        weight = torch.cat([logits.mean(dim=-1, keepdim=True), logits], dim=-1).softmax(dim=-1)
        weight = weight[..., 1:] + weight[..., :1] / points
        pooled = pool.c_proj(_mix(weight, maps.values, index, share))
        return _normed(pooled, maps.dense, index, share)


class VisionTransformer(Reader):
    """A ViT: every window has a class token of its own, which asks the window's points, and itself, in
    every block, as a crop's token does.

    Patches see as far as a window around them would, and the image's class token; where a map is no
    larger than a window, all of it, as in a crop. bench.vit_windows holds this against other ways.
    """

    most = 4096  # cells of a part: attention grows with their square

    def __init__(self, tower: Any, size: int, resolution: float) -> None:
        self._tower = tower
        self.stride: int = tower.patch_size[0]
        self.reach = self.window = math.ceil(size * resolution / self.stride)  # cells

    def largest(self, pixels: int) -> int:
        """See Reader. A tile's patches see no further than the tile, so the batch has no say."""
        return self.most

    def project(self, images: Float[Tensor, "map 3 height width"]) -> Asked:
        """See Reader."""
        x, keys, values = visual.vit_embed(self._tower, images), [], []
        *_, last = blocks = self._tower.transformer.resblocks
        grid = tuple(side // self.stride for side in images.shape[2:])
        mask = None if max(grid) <= self.window else _near(grid, self.window // 2, x.device)
        for block in blocks:
            projected = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
            _, key, value = projected.chunk(3, dim=-1)
            keys.append(_heads(key, block.attn.num_heads))
            values.append(_heads(value, block.attn.num_heads))
            if block is not last:
                x = block(x, attn_mask=mask)
        dense = visual.vit_dense(self._tower, x)
        return Asked(torch.stack(keys), torch.stack(values), dense)

    def read(self, maps: Asked, index: Index, share: Share) -> tuple[Tensor, Tensor]:
        """See Reader."""
        *_, last = blocks = self._tower.transformer.resblocks
        x = visual.vit_token(self._tower).expand(len(maps.dense), len(index), -1)
        for block, keys, values in zip(blocks, maps.keys, maps.values, strict=True):
            attended = self._ask(block, x, keys, values, index, share)
            if block is not last:
                x = x + block.ls_1(attended)
                x = x + block.ls_2(block.mlp(block.ln_2(x)))
        return _normed(visual.vit_end(self._tower, x, attended), maps.dense, index, share)

    def _ask(
        self, block: Any, x: Tensor, keys: Tensor, values: Tensor, index: Index, share: Share
    ) -> Float[Tensor, "map window width"]:
        """Attention of the windows' tokens, each to its points and itself."""
        own = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
        query, key, value = (_heads(part, block.attn.num_heads) for part in own.chunk(3, dim=-1))
        itself = (query * key).sum(dim=-1, keepdim=True).float() / math.sqrt(query.shape[-1])
        logits = _logits(query, keys[:, :, 1:], index, share)
        weight = torch.cat([itself, logits], dim=-1).softmax(dim=-1)
        mixed = _mix(weight[..., 1:], values[:, :, 1:], index, share)
        mixed = mixed + (weight[..., :1].to(value.dtype) * value).transpose(1, 2).flatten(2)
        return block.attn.out_proj(mixed)


def _near(grid: tuple[int, ...], reach: int, device: torch.device) -> Float[Tensor, "token token"]:
    """Who may ask whom: patches those within reach, all of them and the class token each other."""
    down, across = torch.meshgrid(*(torch.arange(n, device=device) for n in grid), indexing="ij")
    place = torch.stack([down.flatten(), across.flatten()], dim=1)
    far = (place[:, None] - place).abs().amax(dim=-1) > reach
    mask = torch.zeros(len(place) + 1, len(place) + 1, device=device)
    mask[1:, 1:].masked_fill_(far, float("-inf"))
    return mask


def _heads(x: Tensor, count: int) -> Tensor:
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def _logits(
    query: Float[Tensor, "map head window width"], keys: Tensor, index: Index, share: Share
) -> Float[Tensor, "map head window point"]:
    """What a window's query says to its points."""
    at_cells = (query @ keys.transpose(-1, -2)).float() / math.sqrt(query.shape[-1])
    place = index.flatten(1).expand(*at_cells.shape[:2], -1, -1)
    return (at_cells.gather(-1, place).unflatten(-1, (-1, 4)) * share).sum(dim=-1)


def _mix(
    weight: Float[Tensor, "map head window point"], values: Tensor, index: Index, share: Share
) -> Float[Tensor, "map window channel"]:
    """Sums of the points' values by weight, heads side by side."""
    place = index.flatten(1).expand(*weight.shape[:2], -1, -1)
    spread = (weight[..., None] * share).flatten(-2)
    at_cells = spread.new_zeros(*weight.shape[:3], values.shape[2])
    at_cells = at_cells.scatter_add_(-1, place, spread).to(values.dtype)
    return (at_cells @ values).transpose(1, 2).flatten(2)


def _normed(pooled: Tensor, dense: Tensor, index: Index, share: Share) -> tuple[Tensor, Tensor]:
    points = index.shape[1]
    sampled = _bags(dense, index.flatten(0, 1), share.flatten(0, 1)).unflatten(1, (-1, points))
    return F.normalize(pooled.float(), dim=-1), F.normalize(sampled, dim=-1)


def _bags(cells: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Weighted sums of some cells of each map: (map, cell, dim), (item, few) -> (map, item, dim)."""
    count, size = cells.shape[:2]
    first = torch.arange(count, device=cells.device)[:, None, None] * size
    rows = (index + first).flatten(0, 1)
    weights = share.expand(count, -1, -1).flatten(0, 1)
    table = cells.flatten(0, 1).float()
    found = F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
    return found.unflatten(0, (count, -1))
