"""What a model is tuned on, and what its contexts begin from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clipworks.clip import text
from clipworks.clip.backbone import Backbone
from clipworks.clip.features import CaptionFeatures
from clipworks.kit.errors import InputError
from clipworks.tuning.captions import CaptionTable
from clipworks.tuning.params import TrainModel
from clipworks.tuning.prompts import Prompts
from clipworks.tuning.prompts import load as load_prompts


@dataclass(frozen=True)
class Data:
    """What a model is tuned on."""

    features: CaptionFeatures
    table: CaptionTable
    train: np.ndarray  # rows of the table
    held_out: np.ndarray
    class_mask: np.ndarray  # bool of shape (class,): labels are cut down to these

    def labels(self, selected: np.ndarray) -> np.ndarray:
        """Labels of some rows, cut down to the hard list."""
        return self.table.labels(selected) * self.class_mask.astype(np.int8)


def select(
    table: CaptionTable,
    features: CaptionFeatures,
    settings: TrainModel,
    groups: dict[str, list[str]],
) -> Data:
    """The rows that a model is tuned on, and those that judge it.

    With a hard list, labels are cut down to its groups' classes and captions without any are
    dropped. The source "group" is the templates of the first group.

    Raises:
        InputError: no such group, or nothing is left to train on.
    """
    names = table.class_names
    mask = np.ones(len(names), bool)
    if settings.hard_list:
        if unknown := sorted(set(settings.hard_list) - set(groups)):
            raise InputError(
                f"hard_list: {unknown}: allowed are {list(groups)}, or [] for all classes"
            )
        mask = np.isin(names, [name for group in settings.hard_list for name in groups[group]])
    train = table.select([s for s in settings.sources if s != "group"], held_out=False)
    if "group" in settings.sources:
        if not settings.hard_list:
            raise InputError('source "group" is the templates of hard_list, which is empty')
        templates = table.select(("templates",))
        own = np.isin(names, groups[settings.hard_list[0]])
        train = np.union1d(train, templates[(table.labels(templates) * own).any(axis=1)])
    if not mask.all():
        train = np.concatenate(
            [
                part[(table.labels(part) * mask).any(axis=1)]
                for part in np.array_split(train, 1 + len(train) // 50_000)
            ]
        )
    if not len(train):
        raise InputError(f"sources {settings.sources}: no caption is left to train on")
    return Data(features, table, train, table.judges(), mask)


def begin(
    backbone: Backbone, class_names: Sequence[str], settings: TrainModel, start: Path, *, seed: int
) -> Prompts:
    """Fresh contexts, or those of the model that this one goes on from.

    Raises:
        InputError: the start's prompts have another shape than the settings ask for.
    """
    fresh = Prompts(
        backbone,
        class_names,
        contexts=settings.contexts,
        evidence=settings.evidence,
        name_position=settings.name_position,
        class_specific=settings.class_specific,
        learn_scales=settings.learn_scales,
        init_words=settings.init_words,
        seed=seed,
    )
    if settings.start == "backbone":
        return fresh
    found = load_prompts(start, backbone, class_names)
    old = {kind: tuple(value.shape) for kind, value in found.contexts.items()}
    new = {kind: tuple(value.shape) for kind, value in fresh.contexts.items()}
    shared = old.keys() & new.keys()
    if any(old[kind] != new[kind] for kind in shared):
        raise InputError(
            f"start {settings.start!r}: its contexts have shapes {old}, the settings ask for {new}; "
            "make contexts and class_specific equal"
        )
    fresh.load_state_dict(found.state_dict(), strict=False)
    return fresh


def joint_dim(model: nn.Module) -> int:
    """Size of CLIP's joint space."""
    device = next(model.parameters()).device
    tokens = torch.tensor([[49406, 49407]], device=device)
    with torch.no_grad():
        return int(text.encode_tokens(model, tokens)[0].shape[1])
