"""What the search stage found, on disk: ten pictures of every query, by row and split."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from clipworks.kit import tensors
from clipworks.kit.errors import InputError


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


def read(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Places of each row, int of shape (query, place), and the names that they stand for."""
    with tensors.opened(path, framework="np") as file:
        names = json.loads((file.metadata() or {}).get("images", "null"))
        if names is None:
            raise InputError(f"{path} does not say whose places it holds; run `dvc repro search`")
        rows = [key.removesuffix("/place") for key in file.keys() if key.endswith("/place")]
        return {row: file.get_tensor(f"{row}/place") for row in rows}, names
