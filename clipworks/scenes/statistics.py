"""How sure a figure is: an interval for an accuracy, a test for two rows on the same pictures."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest


@dataclass(frozen=True)
class Accuracy:
    """In percent, with the Wilson interval."""

    accuracy: float
    low: float
    high: float


def accuracy(right: np.ndarray, confidence: float) -> Accuracy:
    """Share of right labels; `right` is bool, of shape (image,)."""
    count, total = int(right.sum()), len(right)
    interval = binomtest(count, total).proportion_ci(confidence, method="wilson")
    return Accuracy(*(round(100 * float(v), 2) for v in (count / total, *interval)))


def mcnemar(right: np.ndarray, other: np.ndarray) -> float:
    """Exact two-sided p of McNemar's test, between rows on the same pictures.

    Only pictures that one row has right and the other wrong count; were the rows equally good,
    either would win such a picture by the toss of a coin.
    """
    wins, losses = int((right & ~other).sum()), int((~right & other).sum())
    if wins + losses == 0:
        return 1.0
    return float(binomtest(wins, wins + losses, 0.5).pvalue)
