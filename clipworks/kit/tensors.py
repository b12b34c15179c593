"""Tensors on disk as safetensors, with the class list that their columns stand for."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from clipworks.kit.classes import check_same
from clipworks.kit.errors import InputError
from clipworks.kit.files import check_stored

# Python can only read it by setting it.
os.umask(_UMASK := os.umask(0))


def save_file(
    values: Mapping[str, Any], path: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Write arrays of torch or NumPy, to be read by whoever may read other files: safetensors itself
    makes files that are their owner's alone."""
    arrays = all(isinstance(value, np.ndarray) for value in values.values())
    own = import_module("safetensors.numpy" if arrays else "safetensors.torch")
    own.save_file(dict(values), str(path), metadata)
    Path(path).chmod(0o666 & ~_UMASK)


def about(class_names: Sequence[str]) -> dict[str, str]:
    """What to store beside tensors: the classes that they speak of."""
    return {"class_names": json.dumps(list(class_names))}


@contextmanager
def opened(
    path: Path,
    *,
    framework: str = "pt",
    made_by: str = "run the stage that writes it (`dvc repro`)",
) -> Iterator[Any]:
    """A safetensors file.

    Args:
        made_by: what to do where there is none, for messages.

    Raises:
        InputError: it is missing, not whole, or lacks a tensor that is asked for.
    """
    check_stored(path, made_by)
    try:
        file = safe_open(str(path), framework=framework)
    except SafetensorError as error:
        raise InputError(f"{path} is no whole safetensors file ({error}); {made_by}") from None
    with file:
        try:
            yield file
        except SafetensorError as error:
            raise InputError(f"{path} does not hold what it should ({error}); {made_by}") from None


def read(path: Path, *, framework: str = "np") -> dict[str, Any]:
    """All tensors of a file; `opened` says what it raises."""
    with opened(path, framework=framework) as file:
        return {key: file.get_tensor(key) for key in file.keys()}


def load(
    path: Path, class_names: Sequence[str], *, stage: str, framework: str = "pt"
) -> dict[str, Any]:
    """All tensors of a file.

    Args:
        stage: what writes it, for messages.

    Raises:
        InputError: it is missing, not whole, or of another class list.
    """
    with opened(path, framework=framework) as file:
        there = json.loads((file.metadata() or {}).get("class_names", "[]"))
        check_same(there, class_names, what=str(path), stage=stage)
        return {key: file.get_tensor(key) for key in file.keys()}


def check_finite(what: str, values: Iterable[Any], advice: str) -> None:
    """Raises InputError, with advice, where tensors hold what is no finite number."""
    if not all(value.isfinite().all() for value in values):
        raise InputError(f"{what} is no finite number any more: {advice}")
