"""What the search stage found, on disk: ten pictures of every query, by row and split."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clipworks.kit import tensors
from clipworks.kit.errors import InputError
from clipworks.kit.tensors import save_file

AGAIN = "run `dvc repro search`"


def write(
    path: Path,
    found: Mapping[str, tuple[np.ndarray, np.ndarray]],
    images: Sequence[str],
) -> None:
    """Similarities and places of each row, and the names that places stand for."""
    values = {}
    for row, (similarities, places) in found.items():
        values[f"{row}/similarity"] = similarities.astype(np.float32)
        values[f"{row}/place"] = places.astype(np.int32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(values, str(path), metadata={"images": json.dumps(list(images))})


def read(path: Path, queries: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Places of each row, int of shape (query, place), and the names that they stand for.

    Raises:
        InputError: the file is of another number of queries, or not as `write` left it.
    """
    with tensors.opened(path, framework="np") as file:
        try:
            names = json.loads((file.metadata() or {}).get("images", "null"))
        except json.JSONDecodeError:
            names = None
        if not isinstance(names, list):
            raise InputError(f"{path} does not say whose places it holds; {AGAIN}")
        rows = [key.removesuffix("/place") for key in file.keys() if key.endswith("/place")]
        found = {row: file.get_tensor(f"{row}/place") for row in rows}
    if not found:
        raise InputError(f"{path} holds no rows; {AGAIN}")
    for row, places in found.items():
        if places.ndim != 2 or len(places) != queries:
            raise InputError(
                f"{path}: {row} has places of shape {places.shape} for {queries} queries; {AGAIN}"
            )
        if places.dtype.kind != "i" or places.min() < 0 or places.max() >= len(names):
            raise InputError(
                f"{path}: {row} has places that none of its {len(names)} pictures has; {AGAIN}"
            )
    return found, names
