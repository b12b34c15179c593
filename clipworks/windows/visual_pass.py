"""One pass of the visual tower over all windows of all images, scored by all models at once."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from clipworks.clip import visual
from clipworks.clip.backbone import Backbone
from clipworks.kit.shapes import UInt8
from clipworks.windows import crops, images, maps
from clipworks.windows.boxes import Box, boxes
from clipworks.windows.params import Infer, Maps
from clipworks.windows.scorer import Scorer

READERS = 4  # threads that decode and cut ahead of the tower


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
    keep_features: bool
    windows: Literal["crops", "maps"]
    maps: Maps

    @staticmethod
    def of(params: Infer) -> "Options":
        """Options from params.yaml."""
        return Options(
            scales=params.scales,
            positional=params.positional,
            nearest=params.nearest_captions,
            batch_size=params.batch_size,
            precision=params.precision,
            store={"float32": torch.float32, "float16": torch.float16}[params.store],
            max_pixels=params.max_pixels,
            keep_features=params.keep_features,
            windows=params.windows,
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


class Pass:
    """The visual pass over images, from files to logits."""

    def __init__(
        self,
        backbone: Backbone,
        scorer: Scorer,
        bank: Tensor,
        options: Options,
        device: torch.device,
    ) -> None:
        self._backbone = backbone
        tower: Any = backbone.model.visual
        self._tower = tower
        tower.to(device)
        if device.type == "cuda":
            tower.to(memory_format=torch.channels_last)
        self._largest = options.batch_size * backbone.image_size**2  # pixels at once
        if options.windows == "maps":
            maps.check(backbone)
            self._reach = maps.reach(tower)
        self.scorer = scorer.to(device)
        self._bank = bank.to(device)
        self._options = options
        self._device = device

    def cut(self, folder: Path, name: str) -> Cut:
        """Decode an image once and cut all its windows."""
        try:
            image = images.read(folder / name, max_pixels=self._options.max_pixels)
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
                size=size,
                largest=self._largest,
                reach=self._reach,
            )
            return Cut(name, found, parts=parts)
        mode = self._backbone.resize_mode
        cut = crops.cut(pixels, found, size=size, resize_mode=mode)
        return Cut(name, found, cut)

    def ahead(self, folder: Path, names: Sequence[str]) -> Iterator[Cut]:
        """Images in order, decoded by threads a few images ahead of who takes them."""
        with ThreadPoolExecutor(READERS) as pool:
            rest = iter(names)
            waiting: list[Future[Cut]] = []
            for name in islice(rest, 2 * READERS):
                waiting.append(pool.submit(self.cut, folder, name))
            while waiting:
                yield waiting.pop(0).result()
                for name in islice(rest, 1):
                    waiting.append(pool.submit(self.cut, folder, name))

    @torch.inference_mode()
    def features(self, cuts: Sequence[Cut]) -> Iterator[Seen]:
        """Features of all windows of some images, at most a batch at once, in the tower's order."""
        yield from (self._maps if self._options.windows == "maps" else self._crops)(cuts)

    def encode(self, cuts: Sequence[Cut]) -> tuple[Tensor, Tensor]:
        """Features of all windows, in the order of the images and their boxes."""
        rows, pooled, dense = (torch.cat(parts) for parts in zip(*self.features(cuts), strict=True))
        place = rows.argsort()
        return pooled[place], dense[place]

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
        for batch in maps.batches(waiting, self._largest):
            one = batch[0][1]
            rows = torch.tensor([start for start, _ in batch])[:, None] + torch.tensor(one.windows)
            with self._autocast():
                x = self._normalise(torch.stack([part.pixels for _, part in batch]))
                projected = maps.project(self._tower, x)
            near = maps.corners(one, self._device)
            at_once = max(1, self._options.batch_size // len(batch))
            for some, index, share in zip(
                rows.split(at_once, dim=1), *(x.split(at_once) for x in near), strict=True
            ):
                with self._autocast():
                    pooled, dense = maps.read(self._tower, projected, index, share)
                yield Seen(some.flatten(), pooled.flatten(0, 1), dense.flatten(0, 1))

    def _normalise(self, pixels: Tensor) -> Tensor:
        return visual.normalise(pixels, self._backbone.mean, self._backbone.std)

    def score(self, cuts: Iterable[Cut]) -> dict[str, Tensor]:
        """Score images as they come: several tower batches at once, so that few of them are not full.

        Returns:
            what `run` returns, of all images; {} where there is none.
        """
        parts: list[dict[str, Tensor]] = []
        waiting: list[Cut] = []
        for cut in cuts:
            waiting.append(cut)
            if sum(c.area for c in waiting) >= 4 * self._largest:
                parts.append(self.run(waiting))
                waiting = []
        if waiting:
            parts.append(self.run(waiting))
        if not parts:
            return {}
        merged = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        counts = torch.cat([part["offsets"].diff() for part in parts])
        merged["offsets"] = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return merged

    @torch.inference_mode()
    def run(self, cuts: list[Cut]) -> dict[str, Tensor]:
        """Logits, caption similarities and boxes of some images, windows of all images in a row."""
        order, kept = [], []
        for rows, pooled, dense in self.features(cuts):
            blended, nearest = visual.blend_captions(
                pooled, self._bank, nearest=self._options.nearest
            )
            found = {
                "logits": self.scorer.score(pooled, blended, dense),
                "similarities": nearest,
            }
            if self._options.keep_features:
                found |= {"pooled": pooled, "dense": dense}
            order.append(rows)
            kept.append({key: x.to(self._options.store).cpu() for key, x in found.items()})
        place = torch.cat(order).argsort()
        return {
            **{key: torch.cat([part[key] for part in kept])[place] for key in kept[0]},
            "boxes": torch.tensor([box for cut in cuts for box in cut.boxes], dtype=torch.int32),
            "offsets": torch.tensor([0, *(len(cut.boxes) for cut in cuts)]).cumsum(0),
        }
