"""A tagger's file: what it says of itself, and whether its parts fit each other and the CLIP."""

import hashlib
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from clipworks.clip.backbone import Backbone
from clipworks.kit import tensors
from clipworks.kit.errors import InputError
from clipworks.windows.params import Maps

VERSION = 3
PARTS = ("globals", "locals", "evidence")


class About(BaseModel):
    """What a tagger file says beside its tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: int
    classes: list[str]
    models: list[str]
    scales: list[int]  # of windows
    maps: Maps
    backbone: str  # a word of the command line: NAME:TAG, NAME:FILE or a folder
    digest: str  # of the backbone's weights
    thresholds: dict[str, str]  # by way of seeing: which rule


def digest(clip: Backbone) -> str:
    """SHA-256 over all that features depend on: how pictures are prepared, the kinds of the layers (an
    activation has no weights), and the weights by name, shape and bytes, however they came."""
    found = hashlib.sha256()
    found.update(f"{clip.image_size} {clip.mean} {clip.std} {clip.resize_mode}".encode())
    found.update(" ".join(type(layer).__name__ for layer in clip.model.modules()).encode())
    for name, value in sorted(clip.model.state_dict().items()):
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def check_own(path: Path) -> None:
    """Raises InputError where weights lie that no tagger may take the place of; an old tagger is one too."""
    if not path.is_file():
        return
    try:
        with tensors.opened(path) as file:
            about = (file.metadata() or {}).get("clipworks", "")
    except InputError:
        about = ""
    if '"backbone":' not in about:
        raise InputError(
            f"{path} is no tagger, and would be lost; move it away, or give another name"
        )


def read(path: Path) -> tuple[About, dict[str, Tensor]]:
    """A tagger's description and tensors.

    Raises:
        InputError: no tagger, of another version, or its parts do not fit each other.
    """
    if path.is_dir():
        raise InputError(
            f"{path} is a folder; a tagger is a file, and `clipworks export` writes one"
        )
    with tensors.opened(path, made_by="`clipworks export` writes a tagger") as file:
        written = (file.metadata() or {}).get("clipworks")
        own = {key: file.get_tensor(key) for key in file.keys()}
    if written is None:
        raise InputError(f"{path} is no tagger; `clipworks export` writes one")
    try:
        about = About.model_validate_json(written)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path}: its description is of another form ({where}: {first['msg']})"
        ) from None
    if about.version != VERSION:
        raise InputError(
            f"{path} is of version {about.version}, this clipworks reads {VERSION}; export it again"
        )
    models, classes = len(about.models), len(about.classes)
    shapes: dict[str, tuple[int, ...]] = {
        "has_evidence": (models,), "global_scale": (models,), "spatial_scale": (models,),
    }  # fmt: skip
    width = own["globals"].shape[-1] if "globals" in own else 0
    shapes |= {part: (models * classes, width) for part in PARTS}
    shapes |= {
        f"{kind}.{way}": (classes,) for kind in ("thresholds", "spread") for way in about.thresholds
    }
    for name, shape in shapes.items():
        if name not in own or tuple(own[name].shape) != shape or not own[name].isfinite().all():
            there = tuple(own[name].shape) if name in own else "missing"
            raise InputError(
                f"{path}: {name} is {there} or not finite, and {models} models of {classes} classes "
                f"need {shape}; the file is damaged or no tagger"
            )
    return about, {name: own[name].float() for name in shapes}
