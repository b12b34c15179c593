"""What tuning gave: contexts, how they got there, and how well they do on held-out captions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clipworks.kit import tables
from clipworks.tuning import heldout
from clipworks.tuning.prompts import Prompts


@dataclass
class Progress:
    """Where training stands; everything that a resumed run needs beside tensors."""

    epoch: int = 0  # epochs that are done
    best_epoch: int = 0  # of the highest held-out mAP
    taken_epoch: int = 0  # whose prompts are kept
    best_map: float = -1.0
    history: list[dict[str, int | float]] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """Tuned contexts and how they got there."""

    prompts: Prompts
    progress: Progress
    class_ap: np.ndarray  # held-out AP of each class, nan where no held-out caption names it
    class_mask: np.ndarray  # bool: the classes that the model is for
    steps: int


def held_out_metrics(result: Result, class_names: Sequence[str]) -> dict[str, Any]:
    """Held-out mAP over the classes that the model is for, and over all; its epoch; each class's AP.

    A figure is None where no held-out caption names a class.
    """
    ap = zip(class_names, result.class_ap.tolist(), strict=True)
    masked = np.where(result.class_mask, result.class_ap, np.nan)
    own, every = heldout.mean_ap(masked), heldout.mean_ap(result.class_ap)
    return {
        "held_out_mAP": None if math.isnan(own) else round(100 * own, 2),
        "held_out_mAP_all_classes": None if math.isnan(every) else round(100 * every, 2),
        "epoch": result.progress.taken_epoch,
        "class_ap": {name: None if math.isnan(value) else round(value, 6) for name, value in ap},
    }


def write(result: Result, class_names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write curve.tsv and held_out.json; returns what the latter holds."""
    curve = pd.DataFrame(result.progress.history)
    curve["held_out_mAP"] = (100 * curve["held_out_mAP"]).round(2)  # in percent, as in all tables
    curve.insert(0, "model", folder.name)
    tables.write_frame(folder / "curve.tsv", curve)
    found = held_out_metrics(result, class_names)
    tables.write_json(folder / "held_out.json", found)
    return found
