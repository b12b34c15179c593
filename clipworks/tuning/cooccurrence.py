"""How often captions name two classes together: the conditional matrix, and a picture of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from clipworks.kit.figures import plt
from clipworks.kit.shapes import Float

NAMED = 250  # classes whose names are written: a larger picture takes gigabytes


def conditional(together: Float[Tensor, "class class"], count: Float[Tensor, " class"]) -> Tensor:
    """P[i, j] = together[i, j] / count[i], each row then divided by its sum (zero rows stay zero)."""
    share = together / count.clamp(min=1)[:, None]
    return share / share.sum(dim=1, keepdim=True).clamp(min=1e-12)


def heat_map(path: Path, matrix: np.ndarray, names: Sequence[str], title: str) -> None:
    """A square matrix with class names on both sides, or without where they could not be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0.16 * min(len(names), NAMED) + 2
    figure, axes = plt.subplots(figsize=(size, size))
    picture = axes.imshow(matrix, cmap="magma_r")
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.set_title(title, fontsize=10)
    figure.colorbar(picture, shrink=0.7)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
