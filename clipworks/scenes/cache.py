"""Cosines of every picture with every prompt, kept per model and sharpening factor.

A softmax of them gives the per-prompt probabilities of any set of prompts, so templates, weights,
pooling and thresholds are tried in seconds and no tower runs again.
"""

import re
from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from clipworks.kit import tensors
from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float
from clipworks.kit.tensors import save_file

TEXTS = "texts.safetensors"
AGAIN = "run `dvc repro probabilities`"


def key(factor: float) -> str:
    """The name under which a factor's cosines lie."""
    return f"cosines/{factor:g}"


def write(
    folder: Path,
    split: str,
    factors: Sequence[float],
    images: Float[np.ndarray, "factor image dim"],
    texts: Float[np.ndarray, "prompt dim"],
) -> None:
    """Write one model's cosines of a split, one tensor (image, prompt) for each factor."""
    folder.mkdir(parents=True, exist_ok=True)
    cosines = {key(f): part @ texts.T for f, part in zip(factors, images, strict=True)}
    save_file(cosines, str(folder / f"{split}.safetensors"))
    save_file({"texts": texts}, str(folder / TEXTS))


class Cache:
    """What the models said of a split; read as needed."""

    def __init__(self, folder: Path, split: str, models: Collection[str] | None = None) -> None:
        """`folder` has one folder a model. `models` are those that count, and None stands for all: what
        models of another params.yaml said may still lie there.

        Raises:
            InputError: there is none.
        """
        self.folder, self.split = folder, split
        found = sorted(path.parent.name for path in folder.glob(f"*/{split}.safetensors"))
        self.models = [name for name in found if models is None or name in models]
        if not self.models:
            raise InputError(f"{folder} holds no model's {split}; run `dvc repro probabilities`")
        self._of = lru_cache(maxsize=None)(self._read)

    def _read(self, model: str) -> dict[str, np.ndarray]:
        if model not in self.models:
            raise InputError(
                f"model {model!r} has no cached probabilities; {self.folder} has {self.models}"
            )
        path = self.folder / model / f"{self.split}.safetensors"
        found, own = tensors.read(path), tensors.read(self.folder / model / TEXTS)
        texts = own.get("texts", np.empty(0))
        width = (len(texts),)
        odd = [
            v for v in found.values() if v.ndim != 2 or v.shape[1:] != width or v.dtype.kind != "f"
        ]
        if texts.ndim != 2 or odd or len({len(v) for v in found.values()}) > 1:
            raise InputError(f"{path} and {TEXTS} beside it do not fit together; {AGAIN}")
        if not found or not all(re.fullmatch(r"cosines/[0-9.e+-]+", name) for name in found):
            raise InputError(f"{path} holds {sorted(found)[:3]} instead of cosines; {AGAIN}")
        if bad := [name for name, v in (found | own).items() if not np.isfinite(v).all()]:
            raise InputError(f"{path}: {bad} hold what is no number; {AGAIN}")
        return {**found, "texts": texts}

    @cached_property
    def images(self) -> int:
        """How many pictures the split has."""
        return len(self.cosines(self.models[0], self.factors(self.models[0])[0]))

    def factors(self, model: str) -> list[float]:
        """The cached sharpening factors of a model, in order."""
        names = [name for name in self._of(model) if name != "texts"]
        return sorted(float(name.removeprefix("cosines/")) for name in names)

    def cosines(self, model: str, factor: float) -> Float[np.ndarray, "image prompt"]:
        """Cosines with all prompts.

        Raises:
            InputError: the model or the factor is not cached.
        """
        if key(factor) not in self._of(model):
            raise InputError(
                f"ensemble.sharpen.{model}: factor {factor:g} is not cached, {self.factors(model)} "
                f"are; add it to probabilities.{model}.sharpen"
            )
        found = self._of(model)[key(factor)]
        if model != self.models[0] and len(found) != self.images:
            raise InputError(
                f"{self.folder}: {model} is of {len(found)} {self.split} pictures, {self.models[0]} of "
                f"{self.images}; {AGAIN}"
            )
        return found

    def texts(self, model: str) -> Float[np.ndarray, "prompt dim"]:
        """Unit features of all prompts."""
        return self._of(model)["texts"]
