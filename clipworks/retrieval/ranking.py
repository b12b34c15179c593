"""The best pictures of each query: exact, in blocks, ties by name."""

import torch
from torch import Tensor

from clipworks.kit.shapes import Float, Int

QUERIES, GALLERY = 1024, 32_768  # rows of a block: 128 MiB of products


def best(
    scores: Float[Tensor, "query image"], k: int
) -> tuple[Float[Tensor, "query place"], Int[Tensor, "query place"]]:
    """The k largest of each row, equal ones in the order of the columns.

    `torch.topk` alone breaks ties as it likes: the chosen are put in order, and a row whose
    ties reach over the last place is sorted as a whole.
    """
    k = min(k, scores.shape[1])
    more = min(k + 1, scores.shape[1])
    values, places = scores.topk(more, dim=1)
    cut = values[:, -1] == values[:, -2] if more > k else torch.zeros(len(scores), dtype=torch.bool)
    values, places = values[:, :k], places[:, :k]
    places, order = places.sort(dim=1)
    values = values.gather(1, order)
    values, order = values.sort(dim=1, descending=True, stable=True)
    places = places.gather(1, order)
    for row in torch.nonzero(cut).flatten().tolist():
        whole, whole_places = scores[row].sort(descending=True, stable=True)
        values[row], places[row] = whole[:k], whole_places[:k]
    return values, places


def search(
    queries: Float[Tensor, "query dim"], gallery: Float[Tensor, "image dim"], k: int
) -> tuple[Float[Tensor, "query place"], Int[Tensor, "query place"]]:
    """Cosines and places of the k most similar pictures of each query.

    Memory stays at a block of products, however large the gallery is.

    Args:
        queries: unit features.
        gallery: unit features, in the order that breaks ties (file names).
    """
    found_values, found_places = [], []
    for some in queries.split(QUERIES):
        values = torch.zeros(len(some), 0)
        places = torch.zeros(len(some), 0, dtype=torch.long)
        for number, part in enumerate(gallery.split(GALLERY)):
            top, where = best(some @ part.to(some.dtype).T, k)
            # Earlier blocks stand first, so that a stable sort keeps the order of names.
            values = torch.cat([values, top.float()], dim=1)
            places = torch.cat([places, where + number * GALLERY], dim=1)
            values, order = values.sort(dim=1, descending=True, stable=True)
            values, places = values[:, :k], places.gather(1, order)[:, :k]
        found_values.append(values)
        found_places.append(places)
    return torch.cat(found_values), torch.cat(found_places)
