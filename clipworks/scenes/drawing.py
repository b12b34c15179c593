"""Matrices as pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clipworks.kit.figures import plt

NAMED = 100  # rows; a larger picture takes gigabytes
NUMBERS_UP_TO = 20  # rows; in a larger matrix they could not be read


def matrix(
    path: Path,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    form: str,
) -> None:
    """A heat map with its numbers, PNG.

    Args:
        values: of shape (row, column).
        form: how a number is written, as ".0f".
    """
    side = 1.5 + 0.45 * min(max(len(rows), 4), NAMED)
    figure, axes = plt.subplots(figsize=(side + 1, side))
    axes.imshow(values, cmap="Blues", vmin=float(values.min()))
    if len(rows) <= NAMED:
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axes.set_yticks(range(len(rows)), rows)
    axes.set_title(title, fontsize=10)
    middle = (float(values.min()) + float(values.max())) / 2
    if len(rows) <= NUMBERS_UP_TO:
        for i, j in np.ndindex(*values.shape):
            color = "white" if values[i, j] > middle else "black"
            axes.text(j, i, format(values[i, j], form), ha="center", va="center", color=color, fontsize=8)  # fmt: skip
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of matplotlib in the file, so that equal pictures are equal bytes.
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def confusion(path: Path, counts: pd.DataFrame, row: str) -> None:
    """A confusion matrix: true classes down, given ones across."""
    names = [str(name) for name in counts.index]
    title = f"{row}: what was shown (down), what was said (across)"
    matrix(path, counts.to_numpy(), names, names, title=title, form=".0f")
