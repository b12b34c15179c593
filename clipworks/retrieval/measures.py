"""How good lists of ten are: mAP@10 as the organisers define it, and as their script computes it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AT = 10


@dataclass(frozen=True)
class Judged:
    """Ten results of each query against the attributes of query and picture."""

    hits: np.ndarray  # bool, (query, at most 10)
    relevant: np.ndarray  # int, (query,): pictures of the gallery with the query's attribute

    @classmethod
    def of(
        cls, top: np.ndarray, gallery: Sequence[str], wanted: Sequence[str], at: int = AT
    ) -> "Judged":
        """Judge places in the gallery.

        Args:
            top: int, of shape (query, place): columns of the gallery, the best first.
            gallery: attribute of each picture.
            wanted: attribute of each query.
        """
        names = {name: i for i, name in enumerate(dict.fromkeys([*gallery, *wanted]))}
        own, asked = (np.array([names[n] for n in some], dtype=int) for some in (gallery, wanted))
        counts = np.bincount(own, minlength=len(names))
        return cls(own[top[:, :at]] == asked[:, None], counts[asked])


def _sums(hits: np.ndarray) -> np.ndarray:
    """Sum of the precisions at the places of the hits."""
    places = np.arange(1, hits.shape[1] + 1)
    return (hits * hits.cumsum(axis=1) / places).sum(axis=1)


def average_precision(judged: Judged) -> np.ndarray:
    """AP@10 = sum over places i of P(i) · (R(i) - R(i - 1)), in [0, 1]; 0 where nothing is relevant.

    R counts all relevant pictures of the gallery, so of fifteen ten perfect hits give 2/3. (The
    organisers' formula.)
    """
    return _sums(judged.hits) / np.maximum(judged.relevant, 1)


def capped(judged: Judged) -> np.ndarray:
    """The same, of at most ten relevant pictures: ten perfect hits give 1."""
    return _sums(judged.hits) / np.clip(judged.relevant, 1, AT)


def by_script(judged: Judged) -> np.ndarray:
    """What the organisers' published script computes: it divides by the hits found, whatever was
    missed, so that one hit in the first place and nothing else gives 1."""
    return _sums(judged.hits) / (judged.hits.sum(axis=1) + 1e-6)


def recall(judged: Judged, at: int) -> np.ndarray:
    """Whether a relevant picture is among the first few (recall@k of retrieval papers)."""
    return np.asarray(judged.hits[:, :at].any(axis=1))
