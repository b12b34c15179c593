"""A second look at the first few: a query adapted to what it found, and mirror images.

The first k pictures, weighted by how similar they are, are drawn together into one direction: the
scores of their first principal component (dimensions are the rows). Its sign is arbitrary, and with
the wrong one the ranking is turned round; here it points the way of the pictures' mean.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from clipworks.kit.shapes import Float, Int


def weights(cosines: Float[Tensor, "query first"]) -> Float[Tensor, "query first"]:
    """Cosines scaled to 0..1 over each query's first pictures; all 1 where they are equal."""
    low, high = cosines.amin(1, keepdim=True), cosines.amax(1, keepdim=True)
    return torch.where(high > low, (cosines - low) / (high - low).clamp_min(1e-300), 1.0)


def adapted(
    features: Float[Tensor, "query first dim"], cosines: Float[Tensor, "query first"]
) -> Float[Tensor, "query dim"]:
    """Each query's adapted direction, not normed.

    Args:
        features: of the first pictures, not normed.
        cosines: of the query with each of them.
    """
    matrix = (features * weights(cosines).unsqueeze(2)).transpose(1, 2)  # (query, dim, first)
    centred = matrix - matrix.mean(dim=1, keepdim=True)
    # The first component lives among the few pictures: a k x k problem, whatever the dimension.
    _, vectors = torch.linalg.eigh(centred.transpose(1, 2) @ centred)
    scores = (centred @ vectors[:, :, -1:]).squeeze(2)
    side = (scores * features.mean(dim=1)).sum(dim=1, keepdim=True)
    return torch.where(side < 0, -scores, scores)


def rerank(
    features: Float[Tensor, "query candidate dim"],
    mirrored: Float[Tensor, "query candidate dim"],
    cosines: Float[Tensor, "query candidate"],
    *,
    first: int,
) -> tuple[Float[Tensor, "query candidate"], Int[Tensor, "query candidate"]]:
    """Similarities of each query's candidates with its adapted query, and their new order.

    Args:
        features: of the candidates, not normed, in the order of the first search.
        mirrored: of their mirror images; the better of both counts.
        cosines: of the query with each candidate.
        first: how many candidates adapt the query.
    """
    query = F.normalize(adapted(features[:, :first], cosines[:, :first]), dim=1).unsqueeze(2)
    both = [(F.normalize(some, dim=2) @ query).squeeze(2) for some in (features, mirrored)]
    similarities = torch.maximum(*both)
    return similarities, similarities.argsort(dim=1, descending=True, stable=True)
