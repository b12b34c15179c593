"""The frozen visual tower over windows: from cut images to pooled and dense features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from clipworks.clip import visual
from clipworks.clip.backbone import Backbone
from clipworks.kit import images
from clipworks.kit.shapes import UInt8
from clipworks.windows import crops, maps
from clipworks.windows.boxes import Box, boxes
from clipworks.windows.params import Infer, Maps, Way


@dataclass(frozen=True)
class Options:
    """How windows are made, run and kept."""

    scales: Sequence[int]
    positional: bool
    nearest: int
    batch_size: int
    precision: str
    store: torch.dtype
    max_pixels: int
    windows: Way
    maps: Maps

    @staticmethod
    def of(params: Infer, windows: Way) -> "Options":
        """Options from params.yaml, for one of its ways."""
        return Options(
            scales=params.scales,
            positional=params.positional,
            nearest=params.nearest_captions,
            batch_size=params.batch_size,
            precision=params.precision,
            store={"float32": torch.float32, "float16": torch.float16}[params.store],
            max_pixels=params.max_pixels,
            windows=windows,
            maps=params.maps,
        )


@dataclass(frozen=True)
class Cut:
    """An image's windows, ready for the tower; the first is the whole image."""

    name: str
    boxes: list[Box]
    crops: UInt8[Tensor, "window 3 size size"] | None = None
    parts: Sequence[maps.Part] = ()  # where windows are read off maps
    reason: str | None = None  # why there is neither

    @property
    def area(self) -> int:
        """Pixels that the tower will see."""
        own = [part.pixels for part in self.parts] if self.crops is None else [self.crops]
        return sum(pixels.numel() for pixels in own) // 3


class Seen(NamedTuple):
    """Features of some windows, and which windows of the images in a row they are."""

    rows: Tensor
    pooled: Tensor
    dense: Tensor


class Tower:
    """The visual tower of a backbone, on a device, looking at windows one way or the other."""

    def __init__(self, backbone: Backbone, options: Options, device: torch.device) -> None:
        self._backbone, self._options, self._device = backbone, options, device
        tower: Any = backbone.model.visual
        self._tower = tower
        tower.to(device)
        if device.type == "cuda":
            tower.to(memory_format=torch.channels_last)
        self.at_once = options.batch_size * backbone.image_size**2  # pixels
        if options.windows == "maps":
            self._reader = maps.reader(backbone, options.maps)

    def cut(self, name: str, source: Path | bytes) -> Cut:
        """Decode an image, a file or its content, once and cut all its windows."""
        try:
            image = images.read(source, max_pixels=self._options.max_pixels)
        except images.BadImage as error:
            return Cut(name, [], reason=str(error))
        pixels = crops.pixels(image).to(self._device)
        found = [
            Box(0, 0, image.width, image.height),
            *boxes(image.width, image.height, self._options.scales),
        ]
        size = self._backbone.image_size
        if self._options.windows == "maps":
            parts = maps.parts(
                pixels,
                found,
                self._options.maps,
                self._reader,
                size=size,
                largest=self.at_once,
            )
            return Cut(name, found, parts=parts)
        mode = self._backbone.resize_mode
        cut = crops.cut(pixels, found, size=size, resize_mode=mode)
        return Cut(name, found, cut)

    @torch.inference_mode()
    def features(self, cuts: Sequence[Cut]) -> Iterator[Seen]:
        """Features of all windows of some images, at most a batch at once, in the tower's order."""
        yield from (self._maps if self._options.windows == "maps" else self._crops)(cuts)

    def encode(
        self, cuts: Sequence[Cut], dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Features of all windows, in the order of the images and their boxes."""
        found = [(r, p.to("cpu", dtype), d.to("cpu", dtype)) for r, p, d in self.features(cuts)]
        rows, pooled, dense = (torch.cat(parts) for parts in zip(*found, strict=True))
        place = rows.argsort()
        return pooled[place], dense[place]

    @torch.inference_mode()
    def window_bytes(self) -> int:
        """What the features of a window take in half precision."""
        size = self._backbone.image_size
        blank = torch.zeros(1, 3, size, size, device=self._device)
        _, positions, dim = visual.features(self._tower, blank, positional=False)[1].shape
        if self._options.windows == "maps":
            positions = self._options.maps.samples(size, self._reader.stride) ** 2
        return 2 * dim * (1 + positions)

    def _autocast(self) -> torch.autocast:
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[
            self._options.precision
        ]
        return torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32)

    def _crops(self, cuts: Sequence[Cut]) -> Iterator[Seen]:
        """Windows of images mixed."""
        everything = torch.cat([cut.crops for cut in cuts if cut.crops is not None])
        for rows in torch.arange(len(everything)).split(self._options.batch_size):
            with self._autocast():
                x = self._normalise(everything[rows[0] : rows[-1] + 1])
                pooled, dense = visual.features(self._tower, x, positional=self._options.positional)
            yield Seen(rows, pooled.float(), dense.float())

    def _maps(self, cuts: Sequence[Cut]) -> Iterator[Seen]:
        """Parts of equal layout together, and their windows a batch at a time."""
        starts = torch.tensor([len(cut.boxes) for cut in cuts]).cumsum(0).tolist()
        waiting = [
            (start - len(cut.boxes), part)
            for start, cut in zip(starts, cuts, strict=True)
            for part in cut.parts
        ]
        largest = self._reader.largest(self.at_once) * self._reader.stride**2
        for batch in maps.batches(waiting, largest):
            one = batch[0][1]
            rows = torch.tensor([start for start, _ in batch])[:, None] + torch.tensor(one.windows)
            with self._autocast():
                x = self._normalise(torch.stack([part.pixels for _, part in batch]))
                projected = self._reader.project(x)
            near = maps.corners(one, self._device)
            at_once = max(1, self._options.batch_size // len(batch))
            for some, index, share in zip(
                rows.split(at_once, dim=1), *(x.split(at_once) for x in near), strict=True
            ):
                with self._autocast():
                    pooled, dense = self._reader.read(projected, index, share)
                yield Seen(some.flatten(), pooled.flatten(0, 1), dense.flatten(0, 1))

    def _normalise(self, pixels: Tensor) -> Tensor:
        return visual.normalise(pixels, self._backbone.mean, self._backbone.std)
