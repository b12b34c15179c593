"""A tagger from what the pipeline made: its CLIP, its prompts, and thresholds of its validation images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from clipworks.clip import backbone
from clipworks.kit import tables, tensors
from clipworks.kit.classes import read_classes
from clipworks.kit.errors import InputError
from clipworks.kit.params import MODELS, Base, load
from clipworks.tagging import thresholds
from clipworks.tagging.eye import Judged, Seeing
from clipworks.tagging.job import look
from clipworks.tagging.sources import Unit
from clipworks.tagging.tagger import Calibration, Tagger
from clipworks.tuning import prompts
from clipworks.windows import manifest
from clipworks.windows.boxes import boxes
from clipworks.windows.params import Infer
from clipworks.worlds import coco

ROWS: dict[Seeing, str] = {"maps": "recommended", "crops": "recommended_crops"}
Rule = Literal["labels", "range"]


def from_pipeline(rule: Rule | None = None, *, root: Path = Path()) -> Tagger:
    """The tagger of a pipeline that has run.

    Args:
        rule: how thresholds come from the validation images: by their labels, or by each class's range
            alone; None takes labels where there are some.

    Raises:
        InputError: a stage has not run, or the rule does not go with the validation split.
    """
    base = load("base", Base, root / "params.yaml")
    infer = load("infer", Infer, root / "params.yaml")
    names = read_classes(root / base.classes)
    clip = backbone.load(root / "models/backbone")
    tuned, scales = {}, {}
    with torch.inference_mode():
        for model in MODELS:
            one = prompts.load(root / f"models/train/{model}/prompts.safetensors", clip, names)
            tuned[model] = one(clip.model)
            scales[model] = float(one.global_scale), float(one.spatial_scale)
    tagger = Tagger.of(
        clip, names, word=str((root / "models/backbone").resolve()), scales=infer.scales,
        maps=infer.maps, tuned=tuned, logit_scales=scales,
    )  # fmt: skip
    return tagger.with_calibration(dict(_calibrations(tagger, infer, names, rule, root)))


def _calibrations(
    tagger: Tagger, infer: Infer, names: list[str], rule: Rule | None, root: Path
) -> Iterator[tuple[str, Calibration]]:
    ensemble, annotations = root / "data/ensemble", root / "data/world/annotations/validation.json"
    if not (ensemble / "test_images.json").exists():
        raise InputError("data/ensemble is not there; run `dvc repro` first")
    if not (ensemble / "validation_images.json").exists():
        if rule is not None:
            raise InputError(f"--thresholds {rule}: there is no validation split; leave it out")
        return  # no validation split: `clipworks tag` reads thresholds off the images it is given
    files = tables.read_json(ensemble / "validation_images.json")
    labels = coco.labels_of(annotations, names, files)
    if labels is not None and not (labels == 1).any():
        labels = None  # no image shows any class
    if labels is None and rule == "labels":
        raise InputError("--thresholds labels: the validation images have no labels; use range")
    if rule == "range":
        labels = None
    rows = tensors.load(
        ensemble / "validation.safetensors", names, stage="ensemble", framework="np"
    )
    made_of = tables.read_json(ensemble / manifest.MADE_OF, dict[str, dict[str, str]])
    for way in infer.windows:
        manifest.check_made_of(made_of.get(way, {}), root)
        _check_windows(root / f"data/infer/{way}/validation", files[0], infer.scales)
        yield way, calibration(rows[ROWS[way]], labels)
    folder = root / tables.read_json(root / "data/world/validation.json")["folder"]
    yield (
        "fast",
        calibration(np.stack([one.logits for one in _fast(tagger, folder, files)]), labels),
    )


def _check_windows(folder: Path, name: str, scales: list[int]) -> None:
    """Raises InputError where thresholds would be of other windows than the tagger's."""
    stored = manifest.boxes_of(folder, name)
    _, _, width, height = stored[0]  # the whole image
    if len(stored) != 1 + len(boxes(width, height, scales)):
        raise InputError(
            f"{folder} was made with other scales than infer.scales {scales}; run `dvc repro` first"
        )


def _fast(tagger: Tagger, folder: Path, files: list[str]) -> list[Judged]:
    with tqdm(total=len(files), desc="whole images", unit="image", mininterval=1) as bar:
        found, bad = look(tagger.eye("fast"), Unit("files", folder, tuple(files)), bar)
    if bad:
        raise InputError(f"{folder}: {len(bad)} images that infer could read cannot be read now")
    return found


def calibration(logits: np.ndarray, labels: np.ndarray | None) -> Calibration:
    """Thresholds of unlabelled or labelled images."""
    if labels is not None:
        found, rule = thresholds.by_labels(labels, logits), f"labels of {len(logits)} images"
    else:
        found, rule = thresholds.by_images(logits)
    return Calibration(found, thresholds.spread_of(logits), rule)
