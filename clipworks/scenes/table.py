"""The table's figures: accuracy with its interval, and whether a row differs from another."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from clipworks.scenes import rows, statistics

Right = Mapping[str, np.ndarray]  # row -> bool, of shape (image,)


def board(
    right: Mapping[str, Right], listed: Mapping[str, Mapping[str, str]], *, confidence: float
) -> dict[str, dict[str, Any]]:
    """Figures of every row in percent, None where labels are not known; `p` is McNemar's, against the row
    named beside it.

    Args:
        right: which pictures each row has right, by split; a split without labels is not there.
        listed: what each row is and which row it is held against.
    """
    test, validation = right.get("test", {}), right.get("validation", {})
    by_labels = {"what": "sharpening and weights by accuracy on validation", "against": rows.MAIN}
    found: dict[str, dict[str, Any]] = {}
    for row, entry in {**listed, rows.VALIDATION: by_labels}.items():
        if row not in test and row not in validation:
            continue
        other = entry["against"]
        known = vars(statistics.accuracy(test[row], confidence)) if row in test else {}
        found[row] = {
            "what": entry["what"],
            **{part: known.get(part) for part in ("accuracy", "low", "high")},
            "validation_accuracy": percent(validation[row]) if row in validation else None,
            "against": other,
            "p": round(statistics.mcnemar(test[row], test[other]), 4) if other in test else None,
        }
    return found


# What people compare between experiments: few enough for a line of `dvc exp show`.
COMPARED = ("name", "imagenet_80", "blur", rows.MAIN, "embedding_mean", rows.VALIDATION)


def summary(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Accuracy of the rows that experiments are compared by: on test, or where that has no labels, on
    validation, under names that say so, and without the row that was chosen there."""
    kept = {row: found[row] for row in COMPARED if row in found}
    if any(one["accuracy"] is not None for one in kept.values()):
        return {row: one["accuracy"] for row, one in kept.items()}
    kept.pop(rows.VALIDATION, None)
    return {f"validation_{row}": one["validation_accuracy"] for row, one in kept.items()}


def percent(right: np.ndarray) -> float:
    """The share of right labels."""
    return round(100 * float(right.mean()), 2)


def bars(found: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Rows and accuracies (of validation where test has no labels), for `dvc plots`."""
    tested = any(one["accuracy"] is not None for one in found.values())
    part = "accuracy" if tested else "validation_accuracy"
    return pd.DataFrame(
        [(row, one[part]) for row, one in found.items()], columns=["row", "accuracy"]
    )


def confusion(truth: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Counts, true classes down and given ones across; pictures without a label are left out."""
    counts = np.zeros((len(classes), len(classes)), int)
    given = labels >= 0
    np.add.at(counts, (truth[given], labels[given]), 1)
    return pd.DataFrame(counts, index=list(classes), columns=list(classes))


def per_class(counts: pd.DataFrame, truth: np.ndarray) -> pd.DataFrame:
    """Recall and precision of each class in percent, and how many pictures show it, with an answer or none."""
    right = np.diag(counts.to_numpy())
    shown, said = np.bincount(truth, minlength=len(counts)), counts.sum(axis=0).to_numpy()
    return pd.DataFrame(
        {
            "class": counts.index,
            "pictures": shown,
            "recall": (100 * right / np.maximum(shown, 1)).round(2),
            "precision": (100 * right / np.maximum(said, 1)).round(2),
        }
    )
