"""The manifest of stored windows: which models, which classes, which images in which shard."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from clipworks.kit import tables, tensors
from clipworks.kit.classes import check_same
from clipworks.kit.errors import InputError

FILE, MADE_OF = "manifest.json", "made_of.json"


class Listed(BaseModel):
    """A split's images, as data/world/SPLIT.json has them."""

    folder: str
    images: list[str]


class Shard(BaseModel):
    """Images whose windows lie in one file."""

    file: str
    images: list[str]


class Manifest(BaseModel):
    """What the manifest holds."""

    models: list[str]
    classes: list[str]
    shards: list[Shard]


def write(
    folder: Path, *, models: list[str], classes: list[str], shards: list[dict[str, Any]]
) -> None:
    """Shards are {"file": name, "images": [names]}, in the order of the images."""
    tables.write_json(folder / FILE, {"models": models, "classes": classes, "shards": shards})


def read(folder: Path, class_names: Sequence[str] | None = None) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        InputError: the folder has no manifest, or its logits are of other classes than these.
    """
    if not (folder / FILE).exists():
        raise InputError(f"{folder} has no {FILE}; run `dvc repro infer` first")
    found: dict[str, Any] = tables.read_json(folder / FILE, Manifest)
    if class_names is not None:
        check_same(found["classes"], class_names, what=str(folder), stage="infer")
    return found


def write_made_of(out: Path, files: Sequence[Path]) -> None:
    """Keep which weights and prompts stored logits were made with: SHA-256 by file."""
    tables.write_json(out / MADE_OF, {path.as_posix(): digest(path) for path in files})


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**24):
            found.update(block)
    return found.hexdigest()


def check_made_of(made_of: dict[str, str], root: Path) -> None:
    """Raises InputError where a file that stored logits were made with is another now."""
    for path, before in made_of.items():
        if not (root / path).is_file() or digest(root / path) != before:
            raise InputError(
                f"{path} changed since data/ensemble was made: thresholds would be of other logits; run "
                "`dvc repro` first"
            )


def boxes_of(folder: Path, name: str) -> list[list[int]]:
    """An image's boxes (left, top, right, bottom in pixels) as stored; the first is the whole image.

    Raises:
        InputError: no shard holds the image.
    """
    for shard in read(folder)["shards"]:
        if name in shard["images"]:
            place = shard["images"].index(name)
            with tensors.opened(folder / shard["file"], framework="np") as file:
                begin, end = file.get_tensor("offsets")[place : place + 2]
                found: list[list[int]] = file.get_slice("boxes")[int(begin) : int(end)].tolist()
            return found
    raise InputError(f"{folder} holds no windows of {name}")
