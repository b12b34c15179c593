"""From logits of windows to one logit per class: co-occurrence, weighting, aggregation, sums."""

from typing import Literal

import torch
from torch import Tensor

from clipworks.kit.shapes import Float

Aggregation = Literal["max_or_min", "max", "mean", "top_k", "log_sum_exp"]
VarianceWeight = Literal["none", "once", "twice"]


def add_cooccurrence(
    logits: Float[Tensor, "*item class"], conditional: Float[Tensor, "class class"], weight: float
) -> Float[Tensor, "*item class"]:
    """l ← l + weight · l P: classes that go with the likely ones gain."""
    return logits + weight * logits @ conditional


def weigh_windows(
    logits: Float[Tensor, "*image window class"],
    similarities: Float[Tensor, "*image window nearest"],
    *,
    similarity: bool,
    variance: VarianceWeight,
) -> Float[Tensor, "*image window class"]:
    """Strengthen windows that look like some caption and that tell the classes apart.

    Factors: 1 + mean cosine with the window's nearest captions, then 1 + the unbiased variance over
    classes of the logits so weighted; "twice" multiplies by that factor of the raw logits too.
    """
    if variance == "none" and not similarity:
        return logits
    factor = torch.ones_like(similarities[..., :1])
    if similarity:
        factor = 1 + similarities.mean(dim=-1, keepdim=True)
    if variance == "none":
        return logits * factor
    spread = _variance(_centred(logits))
    # var(factor · logits) = factor² var(logits): one pass over the windows serves both.
    weight = factor * (1 + factor.square() * spread)
    if variance == "twice":
        weight = weight * (1 + spread)
    return logits * weight


def aggregate(
    logits: Float[Tensor, "*image window class"],
    how: Aggregation,
    *,
    threshold: float = 0.2,
    top_k: int = 5,
    temperature: float = 1.0,
) -> Float[Tensor, "*image class"]:
    """One logit per class from those of its windows.

    "max_or_min" is the solution's rule: the maximum where it exceeds `threshold`, else the minimum.
    "log_sum_exp" is temperature · log mean exp(logit / temperature).
    """
    if how == "mean":
        return logits.mean(dim=-2)
    if how == "top_k":
        return logits.topk(min(top_k, logits.shape[-2]), dim=-2).values.mean(dim=-2)
    if how == "log_sum_exp":
        count = torch.tensor(float(logits.shape[-2]))
        return temperature * ((logits / temperature).logsumexp(dim=-2) - count.log())
    best = logits.amax(dim=-2)
    if how == "max":
        return best
    return torch.where(best > threshold, best, logits.amin(dim=-2))


def standardise(logits: Float[Tensor, "*item class"]) -> Float[Tensor, "*item class"]:
    """Zero mean and unit variance over the classes of each item (inductive: one image is enough)."""
    centred = _centred(logits)
    return centred / _variance(centred).sqrt().clamp(min=1e-6)


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=-1, keepdim=True)


def _variance(centred: Tensor) -> Tensor:
    """Unbiased, over the last axis, which stays. (torch.var takes three times as long on a CPU.)"""
    return centred.square().sum(dim=-1, keepdim=True) / max(centred.shape[-1] - 1, 1)


def standardise_classes(logits: Float[Tensor, "image class"]) -> Float[Tensor, "image class"]:
    """Zero mean and unit variance of each class over the images (transductive: it sees them all)."""
    return standardise(logits.T).T
