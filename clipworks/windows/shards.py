"""A split of images as shards of stored logits; finished shards survive a kill."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from clipworks.kit import tables
from clipworks.kit.checkpoint import scratch_folder, states
from clipworks.kit.errors import InputError
from clipworks.kit.tensors import save_file
from clipworks.windows import manifest
from clipworks.windows.boxes import boxes
from clipworks.windows.tower import Cut
from clipworks.windows.visual_pass import Pass

# Settings that change nothing before a window's features.
AFTER_FEATURES = ("nearest_captions", "store", "keep_features_MiB", "max_bad_share")


def fingerprint(listed: dict[str, Any]) -> list[Any]:
    """What tells a changed image from the one that was scored: name, size and time of each file."""
    folder = Path(listed["folder"])
    stats = [(name, folder / name) for name in listed["images"]]
    return [
        [name, path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else [name]
        for name, path in stats
    ]


def features_folder(
    work: Pass, name: str, listed: dict[str, Any], settings: dict[str, Any], own: list[Path]
) -> Path | None:
    """Where the features of a split's windows are kept; None where they are over the budget.

    They belong to the images, the backbone (its files are `own`) and the windows, not to models or
    captions, so a retrained model starts from them. The last ones alone are kept.
    """
    many = 1 + len(boxes(10_000, 10_000, settings["scales"]))
    size = work.tower.window_bytes() * many * len(listed["images"])
    about = {key: settings[key] for key in settings if key not in AFTER_FEATURES}
    found = scratch_folder(f"features/{name}", {**about, "images": fingerprint(listed)}, own)
    fits = size <= settings["keep_features_MiB"] * 2**20
    for other in states(found):
        if other != found or not fits:
            shutil.rmtree(other, ignore_errors=True)
    return found if fits else None


def report_bad(bad: dict[str, dict[str, str]], total: int, allowed: float, report: Path) -> None:
    """Write which images were bad, and why.

    Raises:
        InputError: they are more than the allowed share.
    """
    tables.write_json(report, bad)
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
    features: Path | None = None,
) -> dict[str, str]:
    """Score a split into shards, with a manifest; finished shards wait in `scratch` for a resumed run.

    Args:
        listed: {"folder": ..., "images": [file names in it]}, as the world stage writes it.
        features: where features of windows are kept for the next run, or lie from the last one.
            Logits then come from what is kept, in half precision, so that both give the same.

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
            if _finished(work, folder, about):
                bar.update(len(part))
            else:
                _score_shard(work, folder, part, done, features, bar)
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
    work: Pass, folder: Path, names: Sequence[str], done: Path, features: Path | None, bar: Any
) -> None:
    if features is None:
        _write(done, *_look(work, work.score, folder, names, bar))
        return
    kept = features / done.name
    if _finished(work, folder, kept.with_suffix(".json")):
        bar.update(len(names))
    else:
        features.mkdir(parents=True, exist_ok=True)
        _write(kept, *_look(work, work.see, folder, names, bar))
    facts = json.loads(kept.with_suffix(".json").read_text(encoding="utf-8"))
    _write(done, work.rate(load_file(kept)) if facts["images"] else {}, facts)


def _finished(work: Pass, folder: Path, about: Path) -> bool:
    """Whether a shard is there whose bad images are still bad: a disk or a decoder may have been away."""
    if not about.exists():
        return False
    bad = json.loads(about.read_text(encoding="utf-8"))["bad"]
    return all(cut.reason is not None for cut in work.ahead(folder, list(bad)))


def _look(
    work: Pass,
    do: Callable[[Iterator[Cut]], dict[str, Tensor]],
    folder: Path,
    names: Sequence[str],
    bar: Any,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of the images that can be used, and which they are, and why the others cannot."""
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

    tensors = do(usable())
    return tensors, {"images": good, "bad": bad}


def _write(done: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a shard's tensors, then (what marks it as finished) which images are in it."""
    draft = done.with_suffix(".tmp")
    if tensors:
        save_file(tensors, str(draft))
        draft.replace(done)
    draft.write_text(json.dumps(facts), encoding="utf-8")
    draft.replace(done.with_suffix(".json"))


def _place(done: Path, target: Path) -> None:
    """Link a finished shard to its place, so that it takes disk space once."""
    target.unlink(missing_ok=True)
    try:
        os.link(done, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(done, target)
