"""Searching images: by a sentence, by an image, or by both.

from clipworks import Index
index = Index.open("images.index")
index.find("a red car at night")
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipworks.kit.errors import InputError
from clipworks.retrieval import ranking
from clipworks.search import approximate
from clipworks.search.embedding import Embedder
from clipworks.search.shelf import Entry, Shelf
from clipworks.tagging import store

EVEN = 0.5  # text and image weigh the same


@dataclass(frozen=True)
class Found:
    """An image and how similar it is."""

    image: str
    cosine: float
    entry: Entry


class Index:
    """An index with its model, ready to be searched."""

    def __init__(self, shelf: Shelf, embedder: Embedder) -> None:
        self._shelf, self._embedder = shelf, embedder
        self._entries = shelf.entries()
        self._features = torch.from_numpy(np.asarray(shelf.features()))  # mapped, not read
        self._fast = approximate.load(shelf.folder, shelf.about.key)

    @classmethod
    def open(cls, folder: str | Path, *, device: str = "auto") -> "Index":
        """Open an index.

        Raises:
            InputError: there is none, it holds no image, or its model is not to be had.
        """
        if not isinstance(folder, str | Path):
            raise InputError(f"an index is a folder's path, not {type(folder).__name__}")
        shelf = Shelf.open(Path(folder))
        if not shelf.about.images:
            raise InputError(f"the index {folder} holds no image; `clipworks search index FOLDER` puts some there")  # fmt: skip
        embedder = Embedder.named(shelf.about.model, 64, device, index=shelf.folder)
        digest = store.digest(embedder.clip)
        while True:  # an update may end while the CLIP is loaded, or while its files are opened
            shelf = Shelf.open(Path(folder))
            shelf.check_model(digest)
            try:
                return cls(shelf, embedder)
            except InputError:
                if Shelf.open(Path(folder)).about.key == shelf.about.key:
                    raise

    @property
    def model(self) -> str:
        """The CLIP, by the word that named it."""
        return self._shelf.about.model

    def __len__(self) -> int:
        return len(self._entries)

    def find(
        self, text: str = "", *, image: str | Path | None = None, top: int = 10,
        text_weight: float = EVEN, exact: bool = False,
    ) -> list[Found]:  # fmt: skip
        """The most similar images, the best first; equal ones by name.

        Args:
            image: to be found by, alone or beside a text.
            text_weight: of the text where there are both, in [0, 1].
            exact: look at all images even where there is a faster way.

        Raises:
            InputError: neither text nor image, the image cannot be read, or `top` is no number of images.
        """
        try:
            top = operator.index(top)
        except TypeError:
            top = 0
        if top < 1:
            raise InputError(f"top: {top!r}; it must be a whole number from 1 on")
        query = self.query(text, image=image, text_weight=text_weight)
        if self._fast is not None and not exact:
            cosines, places = self._fast(query.numpy(), top)
        else:
            values, where = ranking.search(query, self._features, top)
            cosines, places = values.numpy(), where.numpy()
        return [
            Found(self._entries[place].name, float(cosine), self._entries[place])
            for cosine, place in zip(cosines[0], places[0], strict=True)
            if place >= 0
        ]

    def query(
        self, text: str = "", *, image: str | Path | None = None, text_weight: float = EVEN
    ) -> Tensor:
        """The unit feature that is searched for, of shape (1, dim)."""
        if not isinstance(text, str):
            raise InputError(f"a sentence is a text, not {type(text).__name__}")
        if not text.strip() and image is None:
            raise InputError("give a sentence, an image, or both")
        if not 0 <= text_weight <= 1:
            raise InputError(f"text_weight: {text_weight}; it must be from 0 to 1")
        if text_weight != EVEN and (image is None or not text.strip()):
            raise InputError("text_weight: it weighs a sentence against an image; give both")
        parts = []
        if text.strip():
            parts.append((text_weight if image is not None else 1.0, self._embedder.texts([text])))
        if image is not None:
            bad: list[tuple[str, str]] = []
            _, feature = self._embedder.images([(str(image), Path(image))], bad)
            if bad:
                raise InputError(f"the image {image}: {bad[0][1]}")
            weight = 1 - text_weight if text.strip() else 1.0
            parts.append((weight, F.normalize(torch.from_numpy(feature).float(), dim=1)))
        return F.normalize(sum((w * feature for w, feature in parts), torch.zeros(1)), dim=1)


def plain(found: Sequence[Found]) -> list[dict[str, object]]:
    """Results as tables and JSON have them."""
    return [
        {"place": i, "image": f.image, "cosine": round(f.cosine, 4)}
        for i, f in enumerate(found, start=1)
    ]
