"""Making an index: every image is embedded once, and a second run looks at new ones only."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch.nn import functional as F
from tqdm import tqdm

from clipworks.clip import encoding, pretrained
from clipworks.clip.backbone import Backbone
from clipworks.kit import images, runtime
from clipworks.kit.errors import InputError
from clipworks.kit.files import printable
from clipworks.kit.tensors import save_file
from clipworks.retrieval import squares
from clipworks.search.shelf import FORM, Entry
from clipworks.tagging.sources import FILES_A_UNIT, Content, Unit, loose, runs

LARGEST = 200_000_000  # pixels of an image


@dataclass(frozen=True)
class Job:
    """Images that are embedded together; finished ones are a file of the index's parts."""

    unit: Unit
    entries: tuple[Entry, ...]  # of files; those of archives are known when they are read
    model: str = ""  # its digest

    @property
    def name(self) -> str:
        """A file name that belongs to this state of these images, and to this model."""
        facts = [FORM, self.model, self.unit.kind, str(self.unit.path), self.unit.group, *(asdict(e) for e in self.entries)]  # fmt: skip
        facts += self.unit.fingerprint() if not self.entries else []
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24] + ".safetensors"


def entry(name: str, unit: Unit, path: Path) -> Entry:
    """What is known of a file, an archive or a table."""
    try:
        stat = path.stat()
    except (
        OSError
    ):  # a link that leads nowhere or in a circle, a closed folder: reading will say so
        return Entry(name, unit.kind, str(path.absolute()), unit.group, 0, 0)
    return Entry(name, unit.kind, str(path.resolve()), unit.group, stat.st_size, stat.st_mtime_ns)


def plan(
    units: Sequence[Unit], known: Sequence[Entry], *, model: str
) -> tuple[dict[int, Entry], list[Job]]:
    """Which known images are still there, under their present names, and what is to be embedded with a
    model, told by its digest."""
    by_key: dict[Any, list[int]] = {}
    for row, one in enumerate(known):
        by_key.setdefault(one.key, []).append(row)
    kept: dict[int, Entry] = {}
    fresh: list[Entry] = []
    jobs: list[Job] = []
    for unit in units:
        if unit.kind == "files":
            for name in unit.names:
                path = unit.path / name
                one = entry(path.as_posix(), unit, path)
                rows = by_key.get(one.key)
                kept |= {row: replace(known[row], name=one.name) for row in rows or []}
                fresh += [] if rows else [one]
        elif rows := by_key.get(entry("", unit, unit.path).key):
            kept |= {row: known[row] for row in rows}
        else:
            jobs.append(Job(replace(unit, path=unit.path.resolve()), (), model))
    by_path = {one.path: one for one in fresh}  # named twice, embedded once
    for run in runs(list(by_path)):
        jobs.append(
            Job(Unit("files", Path("/"), tuple(run)), tuple(by_path[p] for p in run), model)
        )
    return kept, jobs


class Embedder:
    """A CLIP that turns images into unit features, at its own size and in its own way."""

    def __init__(self, clip: Backbone, *, batch_size: int, device: torch.device) -> None:
        self.clip, self.batch_size, self._device = clip, batch_size, device

    @classmethod
    def named(
        cls, word: str, batch_size: int, device: str, *, index: Path | None = None
    ) -> "Embedder":
        """By a word of the command line, which an index may have kept.

        Raises:
            InputError: no such CLIP, or no such device.
        """
        chosen = runtime.pick_device(device, key="--device")
        try:
            clip = pretrained.named(word)
        except InputError as error:
            raise InputError(
                f"{error} ({index} was made with it)" if index else str(error)
            ) from None
        return cls(clip, batch_size=batch_size, device=chosen)

    def image(self, image: Image.Image) -> np.ndarray:
        """The tower's input of an image: uint8 (1, size, size, 3)."""
        mode: Any = self.clip.resize_mode
        return squares.fit(image, self.clip.image_size, mode)[None]

    def images(
        self,
        items: Sequence[tuple[str, Content | Exception]],
        bad: list[tuple[str, str]],
        bar: Any = None,
    ) -> tuple[list[int], np.ndarray]:
        """Places of the images that can be read, and their unit features, float16 (image, dim).

        Args:
            bad: gets the names of the others, and why.
        """

        def prepare(item: tuple[str, Content | Exception]) -> np.ndarray | None:
            name, content = item
            if bar is not None:
                bar.update()
            try:
                if isinstance(content, Exception):
                    raise images.BadImage(str(content))
                return self.image(images.read(content, max_pixels=LARGEST, key="what is embedded"))
            except images.BadImage as error:
                bad.append((name, str(error)))
                return None

        places: list[int] = []
        parts = []
        for some, features in encoding.image_features(
            self.clip, items, prepare, batch_size=self.batch_size, device=self._device, quiet=True
        ):
            places += some
            parts.append(F.normalize(features[0], dim=1).half().numpy())
        return places, np.concatenate(parts) if parts else np.zeros((0, 0), np.float16)

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit features of texts, float32 (text, dim).

        Raises:
            InputError: a text is longer than the CLIP reads.
        """
        self.clip.check_fit(texts, what="the sentence")
        return encoding.text_features(self.clip, texts, batch_size=64, device=self._device)


def embed(embedder: Embedder, job: Job, path: Path, bar: Any = None) -> None:
    """Write a part: features, entries and bad images of one job, whole or not at all."""
    bad: list[tuple[str, str]] = []
    if job.entries:
        names = {one.path: one for one in job.entries}
        items: list[tuple[str, Content | Exception]] = [(p, loose(Path(p))) for p in names]
        places, features = embedder.images(items, bad, bar)
        entries = [job.entries[i] for i in places]
        bad = [(printable(names[p].name), why) for p, why in bad]
    else:
        entries, parts = [], []
        for some in _some(job.unit):
            places, own = embedder.images(some, bad, bar)
            entries += [entry(some[i][0], job.unit, job.unit.path) for i in places]
            parts.append(own)
        good = [part for part in parts if len(part)]
        features = np.concatenate(good) if good else np.zeros((0, 0), np.float16)
    draft = path.with_suffix(".tmp")
    facts = {"entries": [asdict(one) for one in entries], "bad": bad}
    save_file({"features": torch.from_numpy(features)}, str(draft), metadata={"facts": json.dumps(facts)})  # fmt: skip
    draft.replace(path)


def _some(unit: Unit) -> Iterator[list[tuple[str, Content | Exception]]]:
    """An archive's images, so many that memory stays flat."""
    waiting: list[tuple[str, Content | Exception]] = []
    for one in unit.read():
        waiting.append(one)
        if len(waiting) >= FILES_A_UNIT:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def read_part(path: Path) -> tuple[list[Entry], np.ndarray, list[tuple[str, str]]]:
    """What `embed` wrote."""
    with safe_open(str(path), framework="np") as file:
        facts = json.loads(file.metadata()["facts"])
        bad = [(name, why) for name, why in facts["bad"]]
        return [Entry(**one) for one in facts["entries"]], file.get_tensor("features"), bad


def run(jobs: Sequence[Job], folder: Path, embedder: Embedder) -> None:
    """Embed what is not embedded yet, here; a killed run goes on by job."""
    folder.mkdir(parents=True, exist_ok=True)
    total = (
        None if any(job.unit.kind == "tar" for job in jobs) else sum(j.unit.count() for j in jobs)
    )
    with tqdm(total=total, desc="embed", unit="image", mininterval=1, smoothing=0.1) as bar:
        for job in jobs:
            if (folder / job.name).exists():
                bar.update(len(job.entries))
            else:
                embed(embedder, job, folder / job.name, bar)
