"""Multi-label metrics: mAP, per-class AP, CF1 and OF1."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float


def _checked_once(values: np.ndarray) -> AbstractContextManager[None]:
    """Spare scikit-learn its own checks of every class's column: half of its time.

    Raises:
        ValueError: a value is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("logits hold values that are not finite")
    return config_context(assume_finite=True, skip_parameter_validation=True)


def average_precision(
    labels: np.ndarray, values: Float[np.ndarray, "item class"]
) -> Float[np.ndarray, " class"]:
    """Non-interpolated average precision of each class, in [0, 1]; nan where no item has it.

    Args:
        labels: 1, 0, or -1 for what is not to be judged: that item is left out of that class.
    """
    result = np.full(labels.shape[1], np.nan)
    present = (labels == 1).any(axis=0)
    whole = present & (labels >= 0).all(axis=0)
    with _checked_once(values):
        if whole.any():
            result[whole] = average_precision_score(
                labels[:, whole], values[:, whole], average=None
            )
        for index in np.flatnonzero(present & ~whole):
            judged = labels[:, index] >= 0
            result[index] = average_precision_score(labels[judged, index], values[judged, index])
    return result


def check_labels(labels: np.ndarray | None, split: str) -> None:
    """Raises InputError where no image of a split shows any class: nothing can be measured there."""
    if labels is not None and not (labels == 1).any():
        raise InputError(
            f"the {split} annotations show none of the classes, so no metric can be computed; the "
            "predictions are in data/ensemble all the same, and `git checkout metrics` brings back the "
            "last figures"
        )


def mean_ap(ap: Float[np.ndarray, " class"]) -> float:
    """mAP in percent, over the classes that some image shows."""
    return round(100 * float(np.nanmean(ap)), 2)


@dataclass(frozen=True)
class Summary:
    """All in percent."""

    mAP: float
    CF1: float  # harmonic mean of the classes' mean precision and mean recall, as usual for COCO
    OF1: float  # F1 over all decisions


def summarise(labels: np.ndarray, ap: np.ndarray, decided: np.ndarray) -> Summary:
    """Metrics from each class's AP and from yes/no decisions.

    Args:
        labels: 0 and 1, of shape (image, class); -1 for what is not to be judged.
        decided: bool, of the same shape.
    """
    labels, decided = labels == 1, decided & (labels >= 0)
    # Not labels[:, present]: a single column would be taken for a question of yes or no.
    options, present = {"zero_division": 0.0}, np.flatnonzero(labels.any(axis=0))
    precision, recall, _, _ = precision_recall_fscore_support(
        labels, decided, labels=present, average="macro", **options
    )
    _, _, overall, _ = precision_recall_fscore_support(labels, decided, average="micro", **options)
    by_class = 2 * precision * recall / max(precision + recall, 1e-12)
    percent = (round(100 * float(value), 2) for value in (by_class, overall))
    return Summary(mean_ap(ap), *percent)


def decide(values: np.ndarray, *, top_k: int | None = None, threshold: float = 0.0) -> np.ndarray:
    """Yes/no decisions: the k highest of each image, or all above a threshold."""
    if top_k is None:
        return values > threshold
    chosen = np.zeros(values.shape, bool)
    np.put_along_axis(chosen, np.argsort(-values, axis=1, kind="stable")[:, :top_k], True, axis=1)
    return chosen
