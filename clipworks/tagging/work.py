"""The work of `clipworks tag`: images in, a table and a page out."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from clipworks.clip import pretrained
from clipworks.clip.backbone import Backbone
from clipworks.kit import runtime
from clipworks.kit.classes import read_classes
from clipworks.kit.errors import InputError
from clipworks.kit.places import alone, make_place, page_beside
from clipworks.tagging import job, page, sources, table, thresholds
from clipworks.tagging.eye import Seeing
from clipworks.tagging.job import Parts
from clipworks.tagging.tagger import Tagger
from clipworks.windows.precision import imitated

BLIND = 0.97  # mean correlation of images' logits, from which on they say nothing of the images


def open_tagger(
    file: Path | None, classes: Path | None, backbone: str | None, *, default: Path, seeing: Seeing, device: str
) -> Tagger:  # fmt: skip
    """The tagger of a file, or of a class list and a CLIP.

    Raises:
        InputError: neither or both, they cannot be read, or this CLIP cannot see so.
    """
    if classes is not None:
        if file is not None:
            raise InputError("--tagger and --classes: choose one; a tagger has its own classes")
        if backbone is None:
            raise InputError(
                "--classes needs --backbone too: a CLIP as NAME:TAG (ViT-B-16:openai), NAME:FILE or a "
                "folder such as models/backbone"
            )
        names, chosen = read_classes(classes), runtime.pick_device(device, key="--device")
        clip = pretrained.named(backbone)
        _check_way(clip, seeing)
        return Tagger.of(clip, names, word=backbone, device=chosen)
    there = file or default
    if not there.exists():
        raise InputError(
            f"there is no tagger {there}; `clipworks export` makes one of a pipeline that has run, and "
            "--classes FILE --backbone NAME:TAG tags without one"
        )
    made = Tagger.load(there, backbone)
    _check_way(made.clip, seeing)
    return made


def _check_way(clip: Backbone, seeing: Seeing) -> None:
    """Raises InputError for a CLIP off whose maps no windows can be read: before its texts are encoded."""
    if seeing == "maps" and clip.resize_mode != "shortest":
        raise InputError(
            f"{clip.name} resizes pictures by {clip.resize_mode!r}, so no windows can be read off its maps; add "
            "--full (every window encoded alone) or --fast (the whole image)"
        )


def tag(
    tagger: Tagger,
    words: Sequence[str],
    out: Path,
    seeing: Seeing,
    *,
    tags_per_image: float | None = None,
    batch_size: int = 64,
    precision: str = "fp32",
    device: str = "auto",
    workers: int = 0,
) -> str:
    """Tag all images that some words name; returns what to tell people.

    Args:
        words: folders, files, patterns, tar shards or parquet tables.
        workers: actors of a Ray cluster; 0 works here.

    Raises:
        InputError: nothing to tag, no image that can be read, or the table cannot be written.
    """
    make_place(out, table.KINDS)
    page_beside(out)
    if workers:
        from clipworks.tagging import ray_engine

        if device != "auto":
            raise InputError("--device: with --engine ray each worker takes what its machine has; leave it out")  # fmt: skip
        ray_engine.check("--engine ray")
    if out.suffix == ".csv" and (odd := [name for name in tagger.classes if ";" in name]):
        raise InputError(
            f"--out {out}: a CSV separates tags by semicolons, which {odd[:5]} hold; write .parquet or .json, "
            "or rename the classes"
        )
    if tags_per_image is not None:
        thresholds.check_many(tags_per_image, len(tagger.classes))
    units = sources.find(words, but=out)
    with alone(job.place(out)):
        return _tag(
            tagger, units, out, seeing, tags_per_image=tags_per_image, batch_size=batch_size,
            precision=precision, device=device, workers=workers,
        )  # fmt: skip


def _tag(
    tagger: Tagger,
    units: Sequence[sources.Unit],
    out: Path,
    seeing: Seeing,
    *,
    tags_per_image: float | None,
    batch_size: int,
    precision: str,
    device: str,
    workers: int,
) -> str:
    if workers:
        from clipworks.tagging.ray_engine import judge

        parts = judge(
            tagger, units, out, seeing, batch_size=batch_size, precision=precision, workers=workers
        )
    else:
        chosen = runtime.pick_device(device, key="--device")
        if slow := imitated(precision, chosen):
            print(f"--precision: {slow}")
        parts = job.judge(
            tagger, units, out, seeing, batch_size=batch_size, precision=precision, device=chosen
        )
    if not any(job.count(path) for path in parts.files):
        parts.clear()
        named = ", ".join(dict.fromkeys(str(unit.shown or unit.path) for unit in units[:5]))
        raise InputError(f"{named}: no image in it; archives within archives are not looked into")
    if tags_per_image is not None or seeing not in tagger.calibration:
        tagger = tagger.with_calibration(
            {seeing: job.calibrate(parts, tags_per_image=tags_per_image)}
        )
    rule = tagger.calibration[seeing].rule
    count = table.write(out, lines(tagger, parts, seeing))
    bad = list(parts.bad())
    note = f"Thresholds: {rule}. Windows: {seeing}. CLIP: {tagger.clip.name}."
    warning = blindness(parts.sample())
    site = page_beside(out)
    page.write(
        site, units, lines(tagger, parts, seeing), count=count - len(bad), bad=bad, note=note,
        warning=warning,
    )  # fmt: skip
    parts.clear()
    told = [
        f"{count - len(bad):,} image{'s' * (count - len(bad) != 1)} tagged, {len(bad)} could not be read -> {out}, {site}",
        note,
    ]
    told += [f"bad: {name}: {why}" for name, why in bad[:10]]
    told += [f"... and {len(bad) - 10} more in the table"] if len(bad) > 10 else []
    if count == len(bad):
        raise InputError("\n".join(told))
    return "\n".join([*told, *([f"warning: {warning}"] if warning else [])])


def lines(tagger: Tagger, parts: Parts, seeing: Seeing) -> Iterator[table.Line]:
    """Lines of all images, then of those that could not be read."""
    for judged in parts.judged():
        yield table.Line(judged.name, tagger.tags(judged, seeing))
    for name, why in parts.bad():
        yield table.Line(name, [], why)


def blindness(logits: np.ndarray) -> str:
    """A warning where images all have the same logits, as those of random weights do; or nothing."""
    if min(logits.shape) < 3:  # of two classes a logit says all: images differ by its sign alone
        return ""
    centred = torch.from_numpy(logits - logits.mean(axis=1, keepdims=True))
    normed = torch.nn.functional.normalize(centred, dim=1)
    alike = float(normed.mean(dim=0).square().sum())  # mean cosine of all pairs, itself included
    if alike < BLIND:
        return ""
    return (
        f"this CLIP hardly sees a difference between these images (their logits correlate by {alike:.3f} "
        "on average): unless they are all alike, the weights are random, or of another model, and the tags "
        "mean nothing"
    )
