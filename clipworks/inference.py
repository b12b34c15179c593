"""One pass of the visual tower over all windows of all images, scored by all models at once."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from clipworks import crops, images, manifest, visual
from clipworks.backbone import Backbone
from clipworks.params.infer import Infer
from clipworks.scorer import Scorer
from clipworks.windows import Box, boxes

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


@dataclass(frozen=True)
class Cut:
    """An image's windows, ready for the tower; the first is the whole image."""

    name: str
    boxes: list[Box]
    pixels: Tensor  # uint8, (window, 3, size, size)
    reason: str | None = None


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
        self._scorer = scorer.to(device)
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

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled and dense features of windows, batch by batch (windows of images mixed)."""
        pooled, dense = [], []
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[
            self._options.precision
        ]
        for part in pixels.split(self._options.batch_size):
            x = crops.normalise(part, self._backbone.mean, self._backbone.std)
            with torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32):
                p, d = visual.features(self._visual, x, positional=self._options.positional)
            pooled.append(p.float())
            dense.append(d.float())
        return torch.cat(pooled), torch.cat(dense)

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
            logits.append(self._scorer.score(pooled, blended, dense).to(self._options.store).cpu())
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


def ahead(work: Pass, folder: Path, names: Sequence[str], depth: int) -> Iterator[Cut]:
    """Images in order, decoded by threads a few images ahead of who takes them."""
    with ThreadPoolExecutor(READERS) as pool:
        waiting: list[Future[Cut]] = []
        rest = iter(names)
        for name in islice(rest, depth):
            waiting.append(pool.submit(work.cut, folder, name))
        while waiting:
            yield waiting.pop(0).result()
            for name in islice(rest, 1):
                waiting.append(pool.submit(work.cut, folder, name))


def fingerprint(listed: dict[str, Any]) -> list[Any]:
    """What tells a changed image from the one that was scored: name, size and time of each file."""
    folder = Path(listed["folder"])
    stats = [(name, folder / name) for name in listed["images"]]
    return [
        [name, path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else [name]
        for name, path in stats
    ]


def run_split(
    work: Pass, listed: dict[str, Any], out: Path, *, scratch: Path, per_shard: int
) -> dict[str, str]:
    """Score a split into shards, with a manifest; finished shards survive a kill in `scratch`.

    Args:
        listed: {"folder": ..., "images": [file names in it]}, as the world stage writes it.

    Returns:
        bad images and why.
    """
    folder, names = Path(listed["folder"]), listed["images"]
    out.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, Any]] = []
    bad: dict[str, str] = {}
    with tqdm(total=len(names), desc=f"infer {out.name}", unit="image", mininterval=1) as bar:
        for number, start in enumerate(range(0, len(names), per_shard)):
            part = names[start : start + per_shard]
            done = scratch / f"{number:05d}.safetensors"
            about = scratch / f"{number:05d}.json"
            if not about.exists():
                good, reasons = _shard(work, folder, part, done, bar)
                draft = about.with_suffix(".tmp")
                draft.write_text(json.dumps({"images": good, "bad": reasons}), encoding="utf-8")
                draft.replace(about)
            else:
                bar.update(len(part))
            facts = json.loads(about.read_text(encoding="utf-8"))
            bad |= facts["bad"]
            if facts["images"]:
                _place(done, out / done.name)
                shards.append({"file": done.name, "images": facts["images"]})
    scorer = work._scorer
    manifest.write(out, models=list(scorer.names), classes=scorer.classes, shards=shards)
    return bad


def _place(done: Path, target: Path) -> None:
    """Link a finished shard to its place, so that it takes disk space once."""
    target.unlink(missing_ok=True)
    try:
        os.link(done, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(done, target)


def check_share(bad: dict[str, dict[str, str]], total: int, allowed: float, report: Path) -> None:
    """Raises ValueError where more than the allowed share of the images is bad."""
    share = sum(map(len, bad.values())) / max(total, 1)
    if share > allowed:
        raise ValueError(
            f"{share:.2%} of the images are bad, infer.max_bad_share allows {allowed:.2%}; "
            f"{report} lists them with their reasons"
        )


def _shard(
    work: Pass, folder: Path, names: Sequence[str], path: Path, bar: Any
) -> tuple[list[str], dict[str, str]]:
    """Score the images of a shard, a tower batch or more at a time."""
    parts: list[dict[str, Tensor]] = []
    good, bad = [], {}
    waiting: list[Cut] = []

    def flush() -> None:
        if waiting:
            parts.append(work.run(waiting))
            waiting.clear()

    for cut in ahead(work, folder, names, depth=2 * READERS):
        bar.update()
        if cut.reason is not None:
            bad[cut.name] = cut.reason
            continue
        good.append(cut.name)
        waiting.append(cut)
        # Several batches at once, so that few of them are not full.
        if sum(len(c.boxes) for c in waiting) >= 4 * work._options.batch_size:
            flush()
    flush()
    if parts:
        merged = {
            key: torch.cat([part[key] for part in parts]) for key in parts[0] if key != "offsets"
        }
        counts = torch.cat([part["offsets"].diff() for part in parts])
        merged["offsets"] = torch.cat([torch.zeros(1, dtype=counts.dtype), counts.cumsum(0)])
        draft = path.with_suffix(".tmp")
        save_file(merged, str(draft))
        draft.replace(path)
    return good, bad


def options(params: Infer) -> Options:
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
