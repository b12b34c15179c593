"""How good tags are: F1 of thresholds that saw no test label, between two ends that are no results."""

import numpy as np
from sklearn.metrics import f1_score

from clipworks.kit import metrics
from clipworks.kit.shapes import Float
from clipworks.tagging import thresholds
from clipworks.tagging.thresholds import Logits, PerClass


def of(
    labels: np.ndarray,
    logits: Logits,
    *,
    seen: Float[np.ndarray, "other class"] | None,
    known: np.ndarray | None,
) -> dict[str, dict[str, float]]:
    """Macro- and micro-F1 in percent of each rule, on the test images.

    Args:
        labels: of the test images; -1 is not judged.
        seen: logits of validation images, without labels; None takes the test images themselves.
        known: the validation images' labels, where there are some.
    """
    unlabelled = logits if seen is None else seen
    three = min(3, logits.shape[1] - 1)
    found = {
        "three highest": _f1(labels, metrics.decide(logits, top_k=three)),
        "range, without labels": _at(labels, logits, thresholds.by_images(unlabelled)[0]),
    }
    if seen is not None and known is not None:
        found["labelled validation"] = _at(labels, logits, thresholds.by_labels(known, seen))
    bound = thresholds.by_labels(labels, logits)
    return {**found, "bound: fitted on test labels": _at(labels, logits, bound)}


def _at(labels: np.ndarray, logits: Logits, cut: PerClass) -> dict[str, float]:
    return _f1(labels, logits >= cut)


def _f1(labels: np.ndarray, decided: np.ndarray) -> dict[str, float]:
    shown, decided = labels == 1, decided & (labels >= 0)
    # Not shown[:, present]: a single column would be taken for a question of yes or no.
    options = {"labels": np.flatnonzero(shown.any(axis=0)), "zero_division": 0.0}
    return {
        f"{how}_F1": round(100 * float(f1_score(shown, decided, average=how, **options)), 2)
        for how in ("macro", "micro")
    }
