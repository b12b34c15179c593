"""Multi-label losses on logits of shape (item, class) and labels of 0 and 1 of the same shape.

Each returns the mean over items. `LOSSES` names them for params.yaml; all take the statistics of
the training captions, which some of them weigh by.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clipworks.kit.shapes import Float, Int

MARGIN = 1.0


@dataclass(frozen=True)
class LabelStatistics:
    """How often classes are named in the training captions."""

    count: Float[Tensor, " class"]  # captions with the class; losses need at least 1
    total: int  # captions
    together: Float[Tensor, "class class"]  # captions with both classes; zero diagonal


def ranking(
    logits: Float[Tensor, "item class"],
    labels: Int[Tensor, "item class"],
    statistics: LabelStatistics | None = None,
) -> Float[Tensor, ""]:
    """Σ over pairs (negative i, positive j) of max(0, 1 - s_j + s_i), mean over items.

    The pairwise ranking loss of TaI-DPT (arXiv:2211.12739). The obvious form builds an
    item x class x class tensor. Here the negatives are sorted once: a positive of logit s_j meets
    the k_j negatives above s_j - 1, which cost k_j (1 - s_j) plus the sum of the k_j largest.
    """
    negative = logits.masked_fill(labels > 0, -torch.inf)
    ordered = negative.sort(dim=1, descending=True).values
    sums = F.pad(ordered.masked_fill(ordered == -torch.inf, 0.0).cumsum(dim=1), (1, 0))
    with torch.no_grad():  # searchsorted wants ascending order: count what lies above s_j - 1
        ascending = -ordered
        active = torch.searchsorted(ascending, (MARGIN - logits).contiguous())
        active *= labels > 0
    per_positive = active * (MARGIN - logits) + sums.gather(1, active)
    return per_positive.sum() / len(logits)  # a negative meets none and costs nothing


def weighted_ranking(
    logits: Float[Tensor, "item class"],
    labels: Int[Tensor, "item class"],
    statistics: LabelStatistics,
) -> Float[Tensor, ""]:
    """`ranking` with each pair (i, j) weighed by how seldom the two classes appear together.

    The weights are `inverse_cooccurrence(statistics.together)[i, j]` (the solution's own loss).
    Only the rows of positives are built: memory is positives x classes.
    """
    weight = inverse_cooccurrence(statistics.together)
    item, positive = (labels > 0).nonzero(as_tuple=True)
    margins = MARGIN - logits[item, positive][:, None] + logits[item]
    pairs = F.relu(margins) * weight.T[positive] * (labels[item] == 0)
    return pairs.sum() / len(logits)


def inverse_cooccurrence(together: Float[Tensor, "class class"]) -> Float[Tensor, "class class"]:
    """W = log(1 / (P + 1e-6)) with zero diagonal, rows scaled to mean 1.

    P is `together` with rows summing to 1, so counts and conditional frequencies give the same.
    """
    share = together / together.sum(dim=1, keepdim=True).clamp(min=1e-12)
    weight = -(share + 1e-6).log()
    weight.fill_diagonal_(0.0)
    return weight / weight.mean(dim=1, keepdim=True)


def asymmetric(
    logits: Float[Tensor, "item class"],
    labels: Int[Tensor, "item class"],
    statistics: LabelStatistics | None = None,
    *,
    gamma_negative: float = 2.0,
    gamma_positive: float = 1.0,
    clip: float = 0.05,
) -> Float[Tensor, ""]:
    """Asymmetric loss (arXiv:2009.14119), mean over classes: -(1-p)^γ₊ log p, -(p_m)^γ₋ log(1-p_m).

    The probability of a negative is shifted first: p_m = max(p - clip, 0).
    """
    probability = logits.sigmoid()
    away = (1 - probability + clip).clamp(max=1)
    y = (labels > 0).to(logits.dtype)
    log_likelihood = y * probability.clamp(min=1e-8).log() + (1 - y) * away.clamp(min=1e-8).log()
    right = y * probability + (1 - y) * away
    focus = (1 - right) ** (y * gamma_positive + (1 - y) * gamma_negative)
    return -(focus * log_likelihood).mean()


def distribution_balanced(
    logits: Float[Tensor, "item class"],
    labels: Int[Tensor, "item class"],
    statistics: LabelStatistics,
    *,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.2,
    negative_scale: float = 2.0,
    kappa: float = 0.05,
) -> Float[Tensor, ""]:
    """Distribution-balanced loss (arXiv:2007.09654), mean over classes.

    Re-balanced weight w = α + σ(β (r - μ)), r = (1/n_c) / Σ over the item's positives of 1/n_j;
    negative-tolerant logits z - ν with ν = κ log(N/n_c - 1), negatives scaled by λ.
    """
    y = (labels > 0).to(logits.dtype)
    inverse = 1 / statistics.count
    r = inverse / (y * inverse).sum(dim=1, keepdim=True).clamp(min=1e-12)
    weight = alpha + torch.sigmoid(beta * (r - mu))
    odds = (statistics.total / statistics.count - 1).clamp(min=1e-6)
    z = logits - kappa * odds.log()
    loss = y * F.softplus(-z) + (1 - y) / negative_scale * F.softplus(negative_scale * z)
    return (weight * loss).mean()


def soft_cross_entropy(
    logits: Float[Tensor, "item class"],
    labels: Int[Tensor, "item class"],
    statistics: LabelStatistics | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of the class softmax with the labels shared out evenly (as in CoOp's family)."""
    y = (labels > 0).to(logits.dtype)
    target = y / y.sum(dim=1, keepdim=True).clamp(min=1)
    return -(target * logits.log_softmax(dim=1)).sum() / len(logits)


def class_aware_hinge(
    logits: Float[Tensor, "item class"],
    labels: Int[Tensor, "item class"],
    statistics: LabelStatistics,
    *,
    gamma: float = 1.0,
) -> Float[Tensor, ""]:
    """LMPT's soft-margin hinge (arXiv:2305.04536): Σ_c w_c max(0, m_c - t z), t = ±1 by label.

    Margins m_c = n_c^(-1/4) are wider for rare classes; weights w_c = n_c^(-γ), summing to 1.
    """
    t = (labels > 0).to(logits.dtype) * 2 - 1
    margin = MARGIN / statistics.count**0.25
    weight = statistics.count**-gamma
    return (F.relu(margin - t * logits) * weight / weight.sum()).sum() / len(logits)


Loss = Callable[..., Tensor]
LOSSES: dict[str, Loss] = {
    "ranking": ranking,
    "weighted_ranking": weighted_ranking,
    "asymmetric": asymmetric,
    "distribution_balanced": distribution_balanced,
    "soft_cross_entropy": soft_cross_entropy,
    "class_aware_hinge": class_aware_hinge,
}


def distillation(
    teacher: Float[Tensor, "item class"], student: Float[Tensor, "item class"]
) -> Float[Tensor, ""]:
    """KL(teacher ‖ student) of the class softmaxes, mean over items (the seed's EMA term)."""
    return F.kl_div(
        student.log_softmax(dim=1),
        teacher.log_softmax(dim=1),
        reduction="batchmean",
        log_target=True,
    )
