"""Stored logits of windows, read back in a stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clipworks.kit import tensors
from clipworks.kit.shapes import Float
from clipworks.windows import manifest

IMAGES_AT_ONCE = 32  # of one shard: keeps float32 copies small


@dataclass(frozen=True)
class Stored:
    """Windows of some images of equal window count; window 0 is the whole image."""

    names: list[str]
    logits: Float[Tensor, "image window 3 model class"]  # as stored: float16, or float32
    similarities: Float[Tensor, "image window nearest"]

    def of(self, model: int) -> Float[Tensor, "image window 3 class"]:
        """One model's logits in float32, its windows side by side in memory: all after reads them so."""
        own = self.logits[:, :, :, model].permute(2, 0, 1, 3)
        return own.to(torch.float32, memory_format=torch.contiguous_format).permute(1, 2, 0, 3)


def read(folder: Path) -> Iterator[Stored]:
    """Stream what the infer stage stored, some images of equal window count at a time.

    Raises:
        InputError: the folder has no manifest.
    """
    for shard in manifest.read(folder)["shards"]:
        with tensors.opened(folder / shard["file"]) as file:
            offsets = file.get_tensor("offsets").tolist()
            logits, similarities = file.get_slice("logits"), file.get_slice("similarities")
            for first, last in _runs(offsets):
                begin, end = offsets[first], offsets[last]
                shape = (last - first, -1)
                yield Stored(
                    shard["images"][first:last],
                    logits[begin:end].unflatten(0, shape),
                    similarities[begin:end].float().unflatten(0, shape),
                )


def _runs(offsets: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of images with equal window counts, at most IMAGES_AT_ONCE long."""
    counts = np.diff(offsets)
    first = 0
    while first < len(counts):
        last = first + 1
        while (
            last < len(counts) and counts[last] == counts[first] and last - first < IMAGES_AT_ONCE
        ):
            last += 1
        yield first, last
        first = last
