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
    """Maps with everything that the attention makes of a cell; tokens are the cells, in a ViT after
    the class token."""

    tokens: Float[Tensor, "map token channel"]
    keys: Float[Tensor, "map head token width"]
    values: Float[Tensor, "map head token width"]
    dense: Float[Tensor, "map cell dim"]


class Reader(ABC):
    """A tower whose windows can be read off maps."""

    stride: int  # pixels of a map's cell
    reach: int  # cells around a cell that must be in the picture with it

    @abstractmethod
    def largest(self, pixels: int) -> int:
        """Cells of the largest part, where a batch of the tower has so many pixels."""

    @abstractmethod
    def project(self, images: Float[Tensor, "map 3 height width"]) -> Projected:
        """Run the trunk and project its maps once, whatever the number of windows."""

    @abstractmethod
    def read(
        self, maps: Projected, index: Index, share: Share
    ) -> tuple[Float[Tensor, "map window dim"], Float[Tensor, "map window point dim"]]:
        """Pooled and dense features of the same windows of every map, L2-normed."""


def of(tower: Any, size: int, name: str) -> Reader:
    """The reader of an open_clip tower that takes images of `size` pixels.

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
    return VisionTransformer(tower, size)


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
        mean = _bags(maps.tokens, index.flatten(1), share.flatten(1) / points)
        query = _heads(pool.q_proj(mean), pool.num_heads)
        logits = _logits(query, maps.keys, index, share)
        weight = torch.cat([logits.mean(dim=-1, keepdim=True), logits], dim=-1).softmax(dim=-1)
        weight = weight[..., 1:] + weight[..., :1] / points
        pooled = pool.c_proj(_mix(weight, maps.values, index, share))
        return _normed(pooled, maps.dense, index, share)


class VisionTransformer(Reader):
    """A ViT: the image's class token asks the window's points in the last block, and itself.

    Before that block all patches have seen each other, so a window sees past its edges, and the
    token carries the whole image in its residual; bench.vit_windows holds this against crops.
    """

    most = 4096  # cells of a part: attention grows with their square

    def __init__(self, tower: Any, size: int) -> None:
        self._tower = tower
        self.stride: int = tower.patch_size[0]
        self.reach = size // self.stride  # where a map is cut into tiles, a crop's width around

    def largest(self, pixels: int) -> int:
        """See Reader. A tile's patches see no further than the tile, so the batch has no say."""
        return self.most

    def project(self, images: Float[Tensor, "map 3 height width"]) -> Projected:
        """See Reader."""
        x = visual.vit_tokens(self._tower, images)
        last = self._tower.transformer.resblocks[-1]
        _, keys, values = F.linear(
            last.ln_1(x), last.attn.in_proj_weight, last.attn.in_proj_bias
        ).chunk(3, dim=-1)
        many = last.attn.num_heads
        dense = visual.vit_dense(self._tower, x)
        return Projected(x, _heads(keys, many), _heads(values, many), dense)

    def read(self, maps: Projected, index: Index, share: Share) -> tuple[Tensor, Tensor]:
        """See Reader."""
        last = self._tower.transformer.resblocks[-1]
        token = maps.tokens[:, :1]
        weight, bias = (w.chunk(3)[0] for w in (last.attn.in_proj_weight, last.attn.in_proj_bias))
        query = _heads(F.linear(last.ln_1(token), weight, bias), last.attn.num_heads)
        own = (query @ maps.keys[:, :, :1].transpose(-1, -2)).float() / math.sqrt(query.shape[-1])
        own = own.expand(-1, -1, len(index), -1)
        logits = _logits(query.expand(-1, -1, len(index), -1), maps.keys[:, :, 1:], index, share)
        weight = torch.cat([own, logits], dim=-1).softmax(dim=-1)
        mixed = _mix(weight[..., 1:], maps.values[:, :, 1:], index, share)
        itself = weight[..., :1].to(mixed.dtype) * maps.values[:, :, :1]
        mixed = mixed + itself.transpose(1, 2).flatten(2)
        pooled = visual.vit_end(self._tower, token, last.attn.out_proj(mixed))
        return _normed(pooled, maps.dense, index, share)


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
