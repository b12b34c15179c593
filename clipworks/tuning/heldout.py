"""How well prompts tell classes apart on held-out captions: the only thing that choices look at."""

import numpy as np
import torch
from torch import Tensor

from clipworks.clip import scoring
from clipworks.clip.features import CaptionFeatures
from clipworks.kit.metrics import average_precision
from clipworks.tuning.captions import CaptionTable

BATCH = 2_048  # captions


@torch.no_grad()
def logits(
    classes: dict[str, Tensor],
    features: CaptionFeatures,
    texts: np.ndarray,
    *,
    scale: float | Tensor = scoring.GLOBAL_SCALE,
    spatial_scale: float | Tensor = scoring.SPATIAL_SCALE,
) -> np.ndarray:
    """Global plus local logits of texts, of shape (text, class)."""
    device = classes["global"].device
    found = []
    for part in np.array_split(texts, max(1, -(-len(texts) // BATCH))):
        batch = features.batch(part, device)
        total = scoring.global_logits(batch.pooled, classes["global"], scale)
        total = total + scoring.packed_local_logits(
            batch.parts,
            batch.item,
            batch.items,
            classes["local"],
            classes.get("evidence"),
            scale=scale,
            spatial_scale=spatial_scale,
        )
        found.append(total.float().cpu().numpy())
    return np.concatenate(found)


def class_ap(values: np.ndarray, table: CaptionTable, selected: np.ndarray) -> np.ndarray:
    """Average precision of each class over held-out captions; nan where none names it."""
    return average_precision(table.labels(selected), values)


def mean_ap(ap: np.ndarray) -> float:
    """The mean over classes that a held-out caption names; nan for none."""
    return float(np.nanmean(ap)) if np.isfinite(ap).any() else float("nan")
