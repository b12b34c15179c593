"""Logits of classes for a text or an image, from its global feature and its parts.

The parts are token features of a caption (training) or positions of an image's map (inference);
the formulas are the same, which is the point of texts as images (TaI-DPT, arXiv:2211.12739). The
evidence prompt and the winner-take-all weight come from DualCoOp++ (arXiv:2308.01890).
All features are L2-normed, so every product of two is a cosine.
"""

import torch
from torch import Tensor

from clipworks.kit.shapes import Float, Int

GLOBAL_SCALE = 4.0  # cosine -> logit
SPATIAL_SCALE = 50.0  # sharpness of the softmax over parts, and of the one over classes


def global_logits(
    features: Float[Tensor, "*item dim"], classes: Float[Tensor, "class dim"], scale: float | Tensor
) -> Float[Tensor, "*item class"]:
    """scale · cosine of each feature with each class prompt."""
    return scale * features @ classes.T


def winner_takes_all(
    similarity: Float[Tensor, "*part class"], spatial_scale: float | Tensor
) -> Float[Tensor, "*part class"]:
    """Let each part speak for its best class: a ← a · softmax over classes of s·a·(1 + max a)."""
    best = similarity.amax(dim=-1, keepdim=True)
    return similarity * (spatial_scale * similarity * (best + 1)).softmax(dim=-1)


def local_logits(
    parts: Float[Tensor, "item part dim"],
    local: Float[Tensor, "class dim"],
    evidence: Float[Tensor, "class dim"] | None,
    *,
    scale: float | Tensor = GLOBAL_SCALE,
    spatial_scale: float | Tensor = SPATIAL_SCALE,
) -> Float[Tensor, "item class"]:
    """Sum over parts of similarity · weight, where weight is a softmax over the parts.

    Without evidence the weight comes from the similarity itself; with it, from the cosine with the
    evidence prompt, and the similarity passes through `winner_takes_all`.
    """
    similarity = parts @ local.T
    weight_logits = spatial_scale * (similarity if evidence is None else parts @ evidence.T)
    if evidence is not None:
        similarity = winner_takes_all(similarity, spatial_scale)
    return scale * (similarity * weight_logits.softmax(dim=1)).sum(dim=1)


def packed_local_logits(
    parts: Float[Tensor, "part dim"],
    item: Int[Tensor, " part"],
    items: int,
    local: Float[Tensor, "class dim"],
    evidence: Float[Tensor, "class dim"] | None,
    *,
    scale: float | Tensor = GLOBAL_SCALE,
    spatial_scale: float | Tensor = SPATIAL_SCALE,
) -> Float[Tensor, "item class"]:
    """`local_logits` for items of different lengths, packed without padding.

    Args:
        item: which item each part belongs to, from 0 to items - 1; every item has a part.
    """
    similarity = parts @ local.T
    weight_logits = spatial_scale * (similarity if evidence is None else parts @ evidence.T)
    if evidence is not None:
        similarity = winner_takes_all(similarity, spatial_scale)
    index = item[:, None].expand_as(weight_logits)
    # The softmax does not change when each item's largest logit is taken off first.
    peak = weight_logits.new_full((items, weight_logits.shape[1]), -torch.inf)
    peak = peak.scatter_reduce(0, index, weight_logits.detach(), "amax")
    weight = (weight_logits - peak[item]).exp()
    zeros = torch.zeros_like(peak)
    total = zeros.index_add(0, item, weight)
    return scale * zeros.index_add(0, item, similarity * weight) / total
