"""Rows against labels: which pictures each has right, and the choice that a validation split makes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from clipworks.kit.errors import InputError
from clipworks.scenes import choice, pooling, rows
from clipworks.scenes.cache import Cache
from clipworks.scenes.prompts import PromptSet
from clipworks.scenes.recipes import Recipe, apply
from clipworks.scenes.submissions import known_labels

Rows = dict[str, np.ndarray]  # class probabilities of each row, (image, class)


def truths(folder: Path) -> dict[str, np.ndarray]:
    """Labels of the splits whose labels are known, by split."""
    found = {path.stem: known_labels(path) for path in sorted(folder.glob("*.csv"))}
    return {split: labels for split, labels in found.items() if labels is not None}


def right(truth: np.ndarray, scored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which pictures each row labels rightly, bool of shape (image,).

    Raises:
        InputError: there are other numbers of labels and of pictures, or a probability is no number.
    """
    for row, values in scored.items():
        if len(values) != len(truth):
            raise InputError(
                f"row {row} of data/ensemble is of {len(values)} pictures, and {len(truth)} have labels; "
                "run `dvc repro ensemble`"
            )
        if not np.isfinite(values).all():
            raise InputError(f"row {row} of data/ensemble holds what is no number; run `dvc repro ensemble`")  # fmt: skip
    return {row: pooling.decide(values) == truth for row, values in scored.items()}


def choose_on_validation(
    recipe: Recipe,
    caches: Mapping[str, Cache],
    truth: np.ndarray,
    prompts: PromptSet,
    *,
    steps: int,
) -> tuple[Recipe, dict[str, Rows]]:
    """Sharpening and weights by accuracy on the validation split.

    Returns:
        the recipe, and its row of each split, to be held against what label-free rules chose.
    """
    want = choice.accuracy(caches["validation"], prompts, truth)
    chosen = choice.choose(want, recipe, caches["validation"], steps=steps)
    made = {split: {rows.VALIDATION: apply(chosen, c, prompts)} for split, c in caches.items()}
    return chosen, made
