"""The manifest of stored windows: which models, how many classes, which images in which shard."""

from pathlib import Path
from typing import Any

from clipworks import tables

FILE = "manifest.json"


def write(folder: Path, *, models: list[str], classes: int, shards: list[dict[str, Any]]) -> None:
    """Shards are {"file": name, "images": [names]}, in the order of the images."""
    tables.write_json(folder / FILE, {"models": models, "classes": classes, "shards": shards})


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        ValueError: the folder has no manifest.
    """
    if not (folder / FILE).exists():
        raise ValueError(f"{folder} has no {FILE}; run `dvc repro infer` first")
    found: dict[str, Any] = tables.read_json(folder / FILE)
    return found
