"""One pass of the visual tower over all windows of all images, scored by all models at once."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipworks.clip import visual
from clipworks.clip.backbone import Backbone
from clipworks.windows import crops, images
from clipworks.windows.boxes import Box, boxes
from clipworks.windows.params import Infer
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
        )


@dataclass(frozen=True)
class Cut:
    """An image's windows, ready for the tower; the first is the whole image."""

    name: str
    boxes: list[Box]
    pixels: Tensor  # uint8, (window, 3, size, size)
    reason: str | None = None  # why there are none


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
        visual: Any = backbone.model.visual
        self._visual = visual
        visual.to(device)
        if device.type == "cuda":
            visual.to(memory_format=torch.channels_last)
        self.scorer = scorer.to(device)
        self._bank = bank.to(device)
        self._options = options
        self._device = device

    def cut(self, folder: Path, name: str) -> Cut:
        """Decode an image once and cut all its windows."""
        try:
            image = images.read(folder / name, max_pixels=self._options.max_pixels)
        except images.BadImage as error:
            return Cut(name, [], torch.empty(0), str(error))
        pixels = crops.pixels(image).to(self._device)
        found = [
            Box(0, 0, image.width, image.height),
            *boxes(image.width, image.height, self._options.scales),
        ]
        size, mode = self._backbone.image_size, self._backbone.resize_mode
        return Cut(name, found, crops.cut(pixels, found, size=size, resize_mode=mode))

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
    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled and dense features of windows, batch by batch (windows of images mixed)."""
        pooled, dense = [], []
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[
            self._options.precision
        ]
        for part in pixels.split(self._options.batch_size):
            x = visual.normalise(part, self._backbone.mean, self._backbone.std)
            with torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32):
                p, d = visual.features(self._visual, x, positional=self._options.positional)
            pooled.append(p.float())
            dense.append(d.float())
        return torch.cat(pooled), torch.cat(dense)

    def score(self, cuts: Iterable[Cut]) -> dict[str, Tensor]:
        """Score images as they come: several tower batches at once, so that few of them are not full.

        Returns:
            what `run` returns, of all images; {} where there is none.
        """
        parts: list[dict[str, Tensor]] = []
        waiting: list[Cut] = []
        for cut in cuts:
            waiting.append(cut)
            if sum(len(c.boxes) for c in waiting) >= 4 * self._options.batch_size:
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
        everything = torch.cat([cut.pixels for cut in cuts])
        logits, similarities, kept_pooled, kept_dense = [], [], [], []
        for part in everything.split(self._options.batch_size):
            pooled, dense = self.features(part)
            blended, nearest = visual.blend_captions(
                pooled, self._bank, nearest=self._options.nearest
            )
            logits.append(self.scorer.score(pooled, blended, dense).to(self._options.store).cpu())
            similarities.append(nearest.to(self._options.store).cpu())
            if self._options.keep_features:
                kept_pooled.append(pooled.to(self._options.store).cpu())
                kept_dense.append(dense.to(self._options.store).cpu())
        found = {
            "logits": torch.cat(logits),
            "similarities": torch.cat(similarities),
            "boxes": torch.tensor([box for cut in cuts for box in cut.boxes], dtype=torch.int32),
            "offsets": torch.tensor([0, *(len(cut.boxes) for cut in cuts)]).cumsum(0),
        }
        if self._options.keep_features:
            found |= {"pooled": torch.cat(kept_pooled), "dense": torch.cat(kept_dense)}
        return found
