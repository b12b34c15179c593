"""Classify a folder of one's own pictures: class names in, probabilities out, nothing trained."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image

from clipworks.clip.backbone import Backbone
from clipworks.kit import images
from clipworks.kit.classes import read_classes
from clipworks.kit.errors import InputError
from clipworks.kit.files import printable
from clipworks.kit.places import replacing
from clipworks.kit.shapes import Float
from clipworks.kit.tables import write_csv
from clipworks.scenes import encoding, pooling
from clipworks.scenes.prompts import PromptFile, PromptSet

if TYPE_CHECKING:
    import pandas as pd

# What every class gets where people give no file: its name, and CLIP's templates.
PLAIN = PromptFile(
    templates={"name": ["{}"], "own": ["a photo of a {}", "an image of a {}"]},
    imagenet={"imagenet": "all"},
    sentences={},
)
SCALE = 100.0  # cosine -> logit, as CLIP was trained
MAX_PIXELS = 200_000_000
ODD = "its name is no UTF-8; rename it"  # which no table could hold
TABLES = (".csv", ".parquet", ".json")
Pooling = Literal["shared_softmax", "embedding_mean", "template_softmax"]


@dataclass(frozen=True)
class Classified:
    """Class probabilities of the pictures that could be read, and why the others could not."""

    classes: tuple[str, ...]
    pictures: list[str]
    probabilities: Float[np.ndarray, "picture class"]
    bad: dict[str, str]

    def frame(self) -> "pd.DataFrame":
        """One line a picture, most certain first; those without an answer last, with the reason."""
        import pandas as pd

        best = self.probabilities.argmax(axis=1)
        found = pd.DataFrame(
            {
                "picture": self.pictures,
                "label": [self.classes[i] for i in best],
                "probability": self.probabilities.max(axis=1),
                **{f"probability {n}": p for n, p in zip(self.classes, self.probabilities.T, strict=True)},
                "error": "",
            }
        )  # fmt: skip
        found = found.sort_values("probability", ascending=False, kind="stable")
        lost = pd.DataFrame(
            {"picture": list(self.bad), "label": "", "error": list(self.bad.values())}
        )
        return pd.concat([found, lost], ignore_index=True) if self.bad else found


def model_list(text: str) -> list[str]:
    """Models' words from "a,b".

    Raises:
        InputError: none, or one twice, whose weight would then be double.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise InputError(f"--models {text!r}: give a CLIP as NAME:TAG, NAME:FILE or a folder")
    places = [_place(word) for word in words]
    if twice := sorted(
        {w for w, place in zip(words, places, strict=True) if places.count(place) > 1}
    ):
        raise InputError(f"--models names {twice} twice")
    return words


def _place(word: str) -> tuple[str, str]:
    """A model's word in one spelling: its name, and its tag or where its file or folder lies."""
    name, _, rest = word.rpartition(":")
    return name, os.path.abspath(rest) if Path(rest).exists() else rest  # noqa: PTH100  (links stay)


def class_list(text: str) -> list[str]:
    """Class names from "a,b,c", or from a file with one a line.

    Raises:
        InputError: fewer than two, or one twice.
    """
    if os.path.isfile(text):  # noqa: PTH113  (raises nothing, however long the text)
        return read_classes(Path(text))
    if "," not in text and ("/" in text or "." in text):
        raise InputError(f"--classes {text!r}: there is no such file")
    names = [name.strip() for name in text.split(",") if name.strip()]
    lower = [name.lower() for name in names]
    if twice := sorted({name for name in lower if lower.count(name) > 1}):
        raise InputError(f"--classes names {twice} twice")
    if len(names) < 2:
        raise InputError(
            f"--classes {text!r}: at least two are needed, as a,b,c or as a file with one a line"
        )
    return names


def classify(
    folder: Path,
    names: Sequence[str],
    models: Sequence[Backbone],
    prompts: PromptSet,
    *,
    how: Pooling = "shared_softmax",
    sharpen: float = 1.0,
    batch_size: int = 32,
    device: torch.device | None = None,
) -> Classified:
    """Probabilities of every picture by the mean of all models, one model after the other.

    Args:
        names: picture files, relative to the folder.
        sharpen: factor; 1 leaves the pictures as they are.

    Raises:
        InputError: no picture can be read.
    """
    device = device or torch.device("cpu")
    odd = {printable(name): ODD for name in names if printable(name) != name}
    names = [name for name in names if printable(name) == name]
    bad: dict[str, str] = {}

    def read(path: Path) -> Image.Image | None:
        try:
            return images.read(path, max_pixels=MAX_PIXELS, key="the allowed pixels")
        except images.BadImage as error:
            bad[path.relative_to(folder).as_posix()] = str(error)
            return None

    total: np.ndarray | None = None
    whole = set(range(len(names)))  # pictures that every model could look at
    for model in models:
        texts = encoding.text_features(model, prompts.texts, batch_size=256, device=device).numpy()
        parts, places = [], []
        for some, features in encoding.image_features(
            model, [folder / name for name in names], [sharpen], batch_size=batch_size, read=read,
            device=device, label=f"classify by {model.name}",
        ):  # fmt: skip
            cosines = features[0].numpy() @ texts.T
            parts.append(pooling.by_class(how, cosines, texts, prompts.owner, SCALE))
            places += some
        if not parts:
            lost = bad | odd
            first = next(iter(lost.items()))
            raise InputError(
                f"{folder}: none of {len(lost)} pictures can be read; {first[0]}: {first[1]}"
            )
        found = np.concatenate(parts)
        total = np.zeros((len(names), found.shape[1]), found.dtype) if total is None else total
        total[places] += found
        whole &= set(places)
    assert total is not None
    order = [name for name in names if name in bad]
    rows = sorted(whole)
    return Classified(
        prompts.classes,
        [names[i] for i in rows],
        pooling.to_one(total[rows]),
        {name: bad[name] for name in order} | odd,
    )


def write(path: Path, frame: "pd.DataFrame") -> None:
    """A table as csv, parquet or JSON, by its suffix."""
    with replacing(path) as draft:
        if path.suffix == ".csv":
            write_csv(draft, frame)
        elif path.suffix == ".parquet":
            frame.to_parquet(draft, index=False)
        else:
            frame.to_json(draft, orient="records", indent=1, force_ascii=False)
