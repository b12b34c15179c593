"""The table's figures: how good each row is, and whether it differs from the row it is held against."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import PermutationMethod, wilcoxon

from clipworks.retrieval import measures
from clipworks.retrieval.measures import Judged
from clipworks.retrieval.params import Row

FEW = 12  # queries that differ, of which all signs are tried: 4,096
# What people compare between experiments: few enough for a line of `dvc exp show`.
COMPARED = ("zero_shot", "square", "hard", "completed", "suffix", "soup_greedy", "reranked")


def figures(judged: Judged, kinds: Sequence[str]) -> dict[str, float]:
    """All figures of one row, in percent; cars and persons apart where there are both."""
    ap, car = measures.average_precision(judged), np.array([kind == "car" for kind in kinds])
    found = {"mAP@10": percent(ap)}
    for name, some in (("cars", car), ("persons", ~car)):
        if some.any():
            found[f"mAP@10_{name}"] = percent(ap[some])
    found |= {f"recall@{at}": percent(measures.recall(judged, at)) for at in (1, 5, 10)}
    return found | {
        "mAP@10_capped": percent(measures.capped(judged)),
        "mAP@10_script": percent(measures.by_script(judged)),
    }


def board(
    rows: Mapping[str, Row],
    test: Mapping[str, Judged],
    validation: Mapping[str, float],
    kinds: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Figures of every row in percent; `p` is Wilcoxon's, over the queries' APs.

    Args:
        test: the rows' results on the test split; nothing where no relevance is known.
        validation: mAP@10 of each row on the validation split, in [0, 1].
    """
    found: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        found[name] = {"what": row.what}
        if name in test:
            found[name] |= figures(test[name], kinds)
        found[name] |= {"validation": round(100 * validation[name], 2), "against": row.against}
        if row.against in test and name in test:
            own, other = (measures.average_precision(test[n]) for n in (name, row.against))
            found[name]["p"] = round(signed_rank(own, other), 4)
    return found


def signed_rank(own: np.ndarray, other: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test over queries; 1 where none differs.

    Of few queries the exact one: the normal approximation would call five that agree "real", where no
    five can.
    """
    differ = own[own != other] - other[own != other]
    if len(differ) < 2:
        return 1.0
    method = PermutationMethod() if len(differ) <= FEW else "approx"
    return float(wilcoxon(differ, method=method).pvalue)


def percent(values: np.ndarray) -> float:
    """A mean of shares."""
    return round(100 * float(np.mean(values)), 2)


def summary(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """mAP@10 of the rows that experiments are compared by; on validation where test is not known."""
    return {
        row: found[row].get("mAP@10", found[row]["validation"]) for row in COMPARED if row in found
    }


def bars(found: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Rows and mAP@10, for `dvc plots`."""
    return pd.DataFrame(
        [{"row": row, "mAP": one.get("mAP@10", one["validation"])} for row, one in found.items()]
    )


def best_on_validation(validation: Mapping[str, float]) -> str:
    """The row with the best mAP@10 there; the first of equal ones."""
    return max(validation, key=lambda row: validation[row])
