"""A split of images as shards of stored logits; finished shards survive a kill."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tqdm import tqdm

from clipworks.kit.errors import InputError
from clipworks.windows import manifest
from clipworks.windows.visual_pass import Cut, Pass


def fingerprint(listed: dict[str, Any]) -> list[Any]:
    """What tells a changed image from the one that was scored: name, size and time of each file."""
    folder = Path(listed["folder"])
    stats = [(name, folder / name) for name in listed["images"]]
    return [
        [name, path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else [name]
        for name, path in stats
    ]


def check_share(bad: dict[str, dict[str, str]], total: int, allowed: float, report: Path) -> None:
    """Raises InputError where more than the allowed share of the images is bad."""
    share = sum(map(len, bad.values())) / max(total, 1)
    if share > allowed:
        raise InputError(
            f"{share:.2%} of the images are bad, infer.max_bad_share allows {allowed:.2%}; "
            f"{report} lists them with their reasons"
        )


def score_split(
    work: Pass,
    listed: dict[str, Any],
    out: Path,
    *,
    scratch: Path,
    per_shard: int,
) -> dict[str, str]:
    """Score a split into shards, with a manifest; finished shards wait in `scratch` for a resumed run.

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
            about = done.with_suffix(".json")
            if about.exists():
                bar.update(len(part))
            else:
                _score_shard(work, folder, part, done, about, bar)
            facts = json.loads(about.read_text(encoding="utf-8"))
            bad |= facts["bad"]
            if facts["images"]:
                _place(done, out / done.name)
                shards.append({"file": done.name, "images": facts["images"]})
    scorer = work.scorer
    classes = list(scorer.class_names)
    manifest.write(out, models=list(scorer.names), classes=classes, shards=shards)
    return bad


def _score_shard(
    work: Pass, folder: Path, names: Sequence[str], done: Path, about: Path, bar: Any
) -> None:
    """Write a shard's tensors, then (what marks it as finished) which images are in it."""
    good: list[str] = []
    bad: dict[str, str] = {}

    def usable() -> Iterator[Cut]:
        for cut in work.ahead(folder, names):
            bar.update()
            if cut.reason is None:
                good.append(cut.name)
                yield cut
            else:
                bad[cut.name] = cut.reason

    if tensors := work.score(usable()):
        draft = done.with_suffix(".tmp")
        save_file(tensors, str(draft))
        draft.replace(done)
    draft = about.with_suffix(".tmp")
    draft.write_text(json.dumps({"images": good, "bad": bad}), encoding="utf-8")
    draft.replace(about)


def _place(done: Path, target: Path) -> None:
    """Link a finished shard to its place, so that it takes disk space once."""
    target.unlink(missing_ok=True)
    try:
        os.link(done, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(done, target)
