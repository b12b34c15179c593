"""Rows of the table at work: one model and one way to search, over pictures encoded once."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipworks.clip import backbone, encoding
from clipworks.clip.backbone import Backbone
from clipworks.kit.checkpoint import scratch_folder
from clipworks.kit.shapes import Float, Int
from clipworks.retrieval import measures, ranking, reranking, validation
from clipworks.retrieval.asking import Asked
from clipworks.retrieval.params import Row, Search


class Looking:
    """Searches a split with one model after the other; a picture is encoded once a model and view."""

    def __init__(
        self, models: Path, settings: Search, device: torch.device, splits: Mapping[str, list[Path]]
    ) -> None:
        self._models, self._settings, self._device = models, settings, device
        self._splits = splits
        self._clip: tuple[str, Backbone] | None = None
        self._images: dict[tuple[str, str, bool, bool], Tensor] = {}

    def search(
        self, row: Row, split: str, asked: Asked
    ) -> tuple[Float[np.ndarray, "query place"], Int[np.ndarray, "query place"]]:
        """Similarities and places of the ten best pictures of each query."""
        found, places = self._search(row, split, asked)
        return found.numpy(), places.numpy()

    def _search(self, row: Row, split: str, asked: Asked) -> tuple[Tensor, Tensor]:
        clip = self._load(row.model)
        words = asked.encoded(row.prefix, row.suffix)
        if long := clip.too_long(words):
            what = f"search: {len(long)} of {len(words)} {split} queries are longer than {row.model} reads"
            print(
                f"warning: {what}, and lose their end (the suffix first), such as {words[long[0]]!r}"
            )
        texts = encoding.text_features(
            clip, words, batch_size=self._settings.batch_size, device=self._device
        )
        images = self._encoded(row, split, mirror=False)
        unit = F.normalize(images, dim=1)
        if not row.rerank:
            return ranking.search(texts, unit, measures.AT)
        cosines, places = ranking.search(texts, unit, self._settings.candidates)
        mirrored = self._encoded(row, split, mirror=True)
        found, order = [], []
        for some, where in zip(cosines.split(256), places.split(256), strict=True):
            values, again = reranking.rerank(images[where], mirrored[where], some, first=row.rerank)
            found.append(values.gather(1, again)[:, : measures.AT])
            order.append(where.gather(1, again)[:, : measures.AT])
        return torch.cat(found), torch.cat(order)

    def _load(self, name: str) -> Backbone:
        if self._clip is None or self._clip[0] != name:
            self._clip = (name, backbone.load(self._models / name))
            # They lie in scratch, and memory holds one model's at a time.
            self._images = {key: kept for key, kept in self._images.items() if key[0] == name}
        return self._clip[1]

    def _encoded(self, row: Row, split: str, *, mirror: bool) -> Tensor:
        """Features of a split's pictures, not normed; kept in scratch, so that a killed run goes on."""
        key = (row.model, split, row.square, mirror)
        if key not in self._images:
            paths, folder = self._splits[split], self._models / row.model
            name = "_".join([*row.model.split("/"), split, "square" if row.square else "centre", *(["mirror"] if mirror else [])])  # fmt: skip
            kept = scratch_folder(f"search/{name}", None, backbone.files(folder))
            clip = self._load(row.model)
            work = partial(
                validation.prepare, size=clip.image_size, square=row.square, mirror=mirror
            )
            self._images[key] = encoding.kept_features(
                clip, paths, work, folder=kept, batch_size=self._settings.batch_size,
                device=self._device, label=f"{row.model} {split}",
            )[0]  # fmt: skip
        return self._images[key]
