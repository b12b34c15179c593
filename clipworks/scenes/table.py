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
    """Figures of every row in percent; `p` is McNemar's, against the row named beside it.

    Args:
        right: which pictures each row has right, by split; nothing where no labels are known.
        listed: what each row is and which row it is held against.
    """
    test, validation = right.get("test", {}), right.get("validation", {})
    by_labels = {"what": "sharpening and weights by accuracy on validation", "against": rows.MAIN}
    found: dict[str, dict[str, Any]] = {}
    for row, entry in {**listed, rows.VALIDATION: by_labels}.items():
        if row not in test:
            continue
        other = entry["against"]
        found[row] = {
            "what": entry["what"],
            **vars(statistics.accuracy(test[row], confidence)),
            "validation_accuracy": percent(validation[row]) if row in validation else None,
            "against": other,
            "p": round(statistics.mcnemar(test[row], test[other]), 4) if other in test else None,
        }
    return found


# What people compare between experiments: few enough for a line of `dvc exp show`.
COMPARED = ("name", "imagenet_80", "blur", rows.MAIN, "embedding_mean", rows.VALIDATION)


def summary(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Test accuracy of the rows that experiments are compared by."""
    return {row: found[row]["accuracy"] for row in COMPARED if row in found}


def percent(right: np.ndarray) -> float:
    """The share of right labels."""
    return round(100 * float(right.mean()), 2)


def bars(found: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Rows and accuracies, for `dvc plots`."""
    return pd.DataFrame([{"row": row, "accuracy": one["accuracy"]} for row, one in found.items()])


def confusion(truth: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Counts, true classes down and given ones across; pictures without a label are left out."""
    counts = np.zeros((len(classes), len(classes)), int)
    given = labels >= 0
    np.add.at(counts, (truth[given], labels[given]), 1)
    return pd.DataFrame(counts, index=list(classes), columns=list(classes))


def per_class(counts: pd.DataFrame) -> pd.DataFrame:
    """Recall and precision of each class in percent, and how many pictures show it."""
    right = np.diag(counts.to_numpy())
    shown, said = counts.sum(axis=1).to_numpy(), counts.sum(axis=0).to_numpy()
    return pd.DataFrame(
        {
            "class": counts.index,
            "pictures": shown,
            "recall": (100 * right / np.maximum(shown, 1)).round(2),
            "precision": (100 * right / np.maximum(said, 1)).round(2),
        }
    )
