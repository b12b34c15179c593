"""Features of pictures at every sharpening factor: each file is decoded once."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from clipworks.clip import encoding
from clipworks.clip.backbone import Backbone
from clipworks.kit.shapes import Float
from clipworks.scenes.sharpening import prepare

Read = Callable[[Path], Image.Image | None]  # None for a picture to be left out


def text_features(
    clip: Backbone, texts: Sequence[str], **options: Any
) -> Float[Tensor, "text dim"]:
    """Unit features of prompts; see `clip.encoding.text_features`.

    Raises:
        InputError: a prompt is longer than the CLIP reads.
    """
    clip.check_fit(texts, what="the prompt")
    return encoding.text_features(clip, texts, **options)


def _prepare(
    read: Read, factors: Sequence[float], size: int
) -> Callable[[Path], np.ndarray | None]:
    def one(path: Path) -> np.ndarray | None:
        image = read(path)
        return None if image is None else prepare(image, size, factors)

    return one


def image_features(
    clip: Backbone, paths: Sequence[Path], factors: Sequence[float], *, read: Read, **options: Any
) -> Iterator[tuple[list[int], Float[Tensor, "factor image dim"]]]:
    """Unit features of pictures a batch at a time, sharpened by each factor, and their places.

    Args:
        options: of `clip.encoding.image_features`.
    """
    work = _prepare(read, factors, clip.image_size)
    for places, features in encoding.image_features(clip, paths, work, **options):
        yield places, F.normalize(features, dim=-1)


def kept_features(
    clip: Backbone, paths: Sequence[Path], factors: Sequence[float], *, read: Read, **options: Any
) -> Float[Tensor, "factor image dim"]:
    """Unit features of all pictures; see `clip.encoding.kept_features` for what is kept."""
    work = _prepare(read, factors, clip.image_size)
    return F.normalize(encoding.kept_features(clip, paths, work, **options), dim=-1)
