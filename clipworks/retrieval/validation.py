"""mAP@10 on labelled pictures: what checkpoints, soups and rows are chosen by."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipworks.clip import encoding
from clipworks.clip.backbone import Backbone
from clipworks.kit import images
from clipworks.retrieval import measures, ranking, squares
from clipworks.retrieval.asking import Asked, Gallery
from clipworks.retrieval.params import Targets
from clipworks.retrieval.queries import Prefix
from clipworks.retrieval.records import Record


def prepare(path: Path, *, size: int, square: bool, mirror: bool = False) -> np.ndarray:
    """A picture file at the tower's size, uint8 of shape (1, size, size, 3)."""
    image = images.as_stored(path)
    image = squares.mirrored(image) if mirror else image
    return squares.fit(image, size, squares.mode(square))[None]


@dataclass(frozen=True)
class Judge:
    """A labelled split that CLIPs are held against."""

    gallery: Gallery
    asked: Asked
    prefix: Prefix
    square: bool
    batch_size: int
    device: torch.device

    @torch.inference_mode()
    def __call__(self, clip: Backbone) -> float:
        """mAP@10 in [0, 1]: every distinct caption asks for the pictures of its attribute."""
        options: dict[str, Any] = {"batch_size": self.batch_size, "device": self.device}
        work = partial(prepare, size=clip.image_size, square=self.square)
        parts = encoding.image_features(clip, self.gallery.paths, work, quiet=True, **options)
        images = F.normalize(torch.cat([found[0] for _, found in parts]), dim=1)
        texts = encoding.text_features(clip, self.asked.encoded(self.prefix, {}), **options)
        return mean_ap(texts, images, self.gallery, self.asked)


def mean_ap(texts: Tensor, images: Tensor, gallery: Gallery, asked: Asked) -> float:
    """mAP@10 of unit features."""
    _, places = ranking.search(texts, images, measures.AT)
    judged = measures.Judged.of(places.numpy(), gallery.attributes, asked.attributes)
    return float(measures.average_precision(judged).mean())


def judge(records: Sequence[Record], files: Sequence[Path], **options: Any) -> Judge:
    """The judge of a labelled split.

    Args:
        options: prefix, square, batch_size and device; see `Judge`.
    """
    return Judge(Gallery.of(records, files), Asked.of(records), **options)


def alike(
    pairs: Sequence[tuple[Path, str]], records: Sequence[Record], files: Sequence[Path], targets: Targets
) -> list[str]:  # fmt: skip
    """What each training pair shares its target by: its caption, or a person's flags.

    Cars go by their captions either way: two white cars whose types were filled in differ.
    """
    flags = {f: r.attribute for r, f in zip(records, files, strict=True) if r.kind == "person"}
    by_flags = targets == "attribute"
    return [flags.get(file, title) if by_flags else title for file, title in pairs]
