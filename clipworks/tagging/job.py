"""Tagging many images: in parts that survive a kill, then one table.

A part is a unit of the source (some files, a tar, a row group) with the logits of its images. Memory
holds one part, however many there are. Thresholds may be read off the images themselves, so tags are
made last, when all logits lie there.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from tqdm import tqdm

from clipworks.kit.ahead import ahead
from clipworks.kit.errors import InputError
from clipworks.kit.files import is_hidden
from clipworks.kit.places import clear_folder
from clipworks.kit.tensors import save_file
from clipworks.tagging import thresholds
from clipworks.tagging.eye import Eye, Judged, Seeing
from clipworks.tagging.sources import Content, Unit
from clipworks.tagging.tagger import UNTUNED, Calibration, Tagger
from clipworks.windows.tower import Cut
from clipworks.windows.visual_pass import READERS

SAVED = "tagger.safetensors"  # in a folder of parts, for other machines
# Of our parts folder, beside its lock: that tagger, parts and their drafts.
_OURS = re.compile(r"tagger\.safetensors|[0-9a-f]{24}\.(safetensors|tmp)")
Bad = tuple[str, str]  # an image that could not be read, and why
SAMPLE = 20_000  # images that thresholds are read off


@dataclass(frozen=True)
class Parts:
    """Finished parts on disk, in the order of the source."""

    folder: Path
    files: list[Path]

    def judged(self) -> Iterator[Judged]:
        """Logits of all images, streamed."""
        for path in self.files:
            names, _ = _facts(path)
            if names:
                with safe_open(str(path), framework="np") as file:
                    logits, windows, sizes = (
                        file.get_tensor(k) for k in ("logits", "windows", "sizes")
                    )
                for i, name in enumerate(names):
                    yield Judged(name, (int(sizes[i, 0]), int(sizes[i, 1])), logits[i], windows[i])

    def bad(self) -> Iterator[Bad]:
        """Images that could not be read, and why."""
        for path in self.files:
            yield from _facts(path)[1]

    def sample(self) -> np.ndarray:
        """Logits of at most SAMPLE images, evenly over all, of shape (image, class)."""
        total = sum(len(_facts(path)[0]) for path in self.files)
        step = max(1, -(-total // SAMPLE))
        # Copies: a view would keep all of its part.
        chosen = [one.logits.copy() for i, one in enumerate(self.judged()) if i % step == 0]
        return np.stack(chosen) if chosen else np.zeros((0, 0), np.float32)

    def clear(self) -> None:
        """Forget them."""
        clear_folder(self.folder)


def judge(
    tagger: Tagger, units: Sequence[Unit], out: Path, seeing: Seeing, *, batch_size: int,
    device: torch.device, precision: str = "fp32",
) -> Parts:  # fmt: skip
    """Look at all images, unit by unit; what an earlier run finished is not looked at again."""
    parts = plan(tagger, units, out, seeing, precision)
    eye: Eye | None = None
    total = None if any(unit.kind == "tar" for unit in units) else sum(u.count() for u in units)
    with tqdm(total=total, desc="tag", unit="image", mininterval=1, smoothing=0.1) as bar:
        for unit, path in zip(units, parts.files, strict=True):
            if path.exists():
                names, bad = _facts(path)
                bar.update(len(names) + len(bad))
                continue
            eye = eye or tagger.eye(
                seeing, batch_size=batch_size, precision=precision, device=device
            )
            write_part(path, *look(eye, unit, bar))
    return parts


def place(out: Path) -> Path:
    """The folder of a table's parts."""
    return out.with_name(f"{out.name}.parts")


def plan(tagger: Tagger, units: Sequence[Unit], out: Path, seeing: Seeing, precision: str) -> Parts:
    """Where the parts will lie, beside the table; what is there of other images or taggers goes.

    Raises:
        InputError: the folder holds what is no part.
    """
    folder = place(out)
    folder.mkdir(parents=True, exist_ok=True)
    names = [path.name for path in folder.iterdir() if not is_hidden(path.name)]
    if odd := sorted(name for name in names if not _OURS.fullmatch(name) and name != "Thumbs.db"):
        raise InputError(
            f"{folder} is where the parts of {out.name} go, and holds what is none: {', '.join(odd[:5])}; move that "
            "away, or give the table another name"
        )
    key = _key(tagger, seeing, precision)
    files = [folder / f"{_digest(key, unit)}.safetensors" for unit in units]
    others = set(folder.glob("*.safetensors")) - {*files, folder / SAVED}
    for other in others:
        other.unlink()
    if others:
        print(f"{out}: {len(others):,} finished parts of other images, settings or taggers go")
    return Parts(folder, files)


def count(part: Path) -> int:
    """How many images a part has, bad ones too."""
    names, bad = _facts(part)
    return len(names) + len(bad)


def look(eye: Eye, unit: Unit, bar: Any = None) -> tuple[list[Judged], list[Bad]]:
    """Logits of a unit's images, and which could not be read and why."""
    found: list[Judged] = []
    bad: list[Bad] = []
    waiting: list[Cut] = []
    pixels = 0

    def cut(item: tuple[str, Content | Exception]) -> Cut:
        name, source = item
        if isinstance(source, Exception):
            return Cut(name, [], reason=str(source))
        return eye.cut(name, source)

    for one in ahead(cut, unit.read(), threads=READERS):
        if bar is not None:
            bar.update()
        if one.reason is not None:
            bad.append((one.name, one.reason))
            continue
        waiting.append(one)
        pixels += one.area
        if pixels >= eye.at_once:
            found += eye.judge(waiting)
            waiting, pixels = [], 0
    return [*found, *eye.judge(waiting)], bad


def write_part(path: Path, judged: Sequence[Judged], bad: Sequence[Bad]) -> None:
    """One file, whole or not there."""
    own = {
        "logits": torch.from_numpy(np.stack([one.logits for one in judged])),
        "windows": torch.from_numpy(np.stack([one.windows for one in judged])),
        "sizes": torch.tensor([one.size for one in judged], dtype=torch.int32),
    } if judged else {"logits": torch.zeros(0)}  # fmt: skip
    facts = {"images": [one.name for one in judged], "bad": bad}
    draft = path.with_suffix(".tmp")
    save_file(own, str(draft), metadata={"facts": json.dumps(facts)})
    draft.replace(path)


def calibrate(parts: Parts, *, tags_per_image: float | None = None) -> Calibration:
    """Thresholds read off the images themselves, without labels; see thresholds.by_images.

    Raises:
        InputError: no image could be read, or the number of tags cannot be.
    """
    logits = parts.sample()
    if not len(logits):
        first = next(parts.bad())
        raise InputError(f"no image could be read; the first: {first[0]}: {first[1]}")
    found, rule = thresholds.by_images(logits, tags_per_image=tags_per_image)
    return Calibration(found, thresholds.spread_of(logits), rule)


def _key(tagger: Tagger, seeing: Seeing, precision: str) -> str:
    """What logits depend on beside the images."""
    about = tagger.about.model_copy(update={"thresholds": {}})
    form = 4  # of parts: those of an earlier clipworks are looked at again
    found = hashlib.sha256(f"{form} {about.model_dump_json()} {seeing} {precision}".encode())
    # Of templates the CLIP's digest says all; the last bits of what it makes of them are a processor's own.
    known = {"globals", "locals", "evidence"} if about.models == [UNTUNED] else set()
    for name, value in vars(tagger.scorer).items():
        if isinstance(value, torch.Tensor) and name not in known:
            found.update(value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _digest(key: str, unit: Unit) -> str:
    text = json.dumps([key, unit.fingerprint()])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _facts(path: Path) -> tuple[list[str], list[Bad]]:
    with safe_open(str(path), framework="np") as file:
        facts = json.loads(file.metadata()["facts"])
    return facts["images"], [(name, why) for name, why in facts["bad"]]
