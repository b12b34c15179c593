"""The training captions: what was generated and what templates add, with labels and a split."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipworks.clip.hand import HAND_TEMPLATE, imagenet_templates
from clipworks.kit import tables
from clipworks.kit.errors import InputError
from clipworks.kit.params import GENERATED
from clipworks.tuning.losses import LabelStatistics

READ = ["caption", "source", "names", "labels"]  # of what filter wrote
ROWS = pa.schema(
    [
        ("text", pa.int32()),  # index of the distinct text
        ("source", pa.string()),
        ("labels", pa.list_(pa.int32())),
        ("held_out", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Row:
    """A training caption: equal texts share their features, whatever their source."""

    caption: str
    source: str
    labels: tuple[int, ...]
    held_out: bool


def held_out(key: str, share: float) -> bool:
    """Whether a caption is held out: by a hash of its combination, so kin stay together."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def generated(captions: Iterable[dict[str, Any]], share: float) -> Iterator[Row]:
    """Rows of the filter stage, split."""
    for row in captions:
        key = "|".join(sorted(row["names"])) if len(row["names"]) > 1 else row["caption"]
        yield Row(row["caption"], row["source"], tuple(row["labels"]), held_out(key, share))


def templated(
    class_names: Sequence[str],
    groups: Iterable[tuple[str, ...]],
    *,
    copies: int,
    companions: dict[str, list[str]],
) -> Iterator[Row]:
    """What templates add: classes alone, all pairs, composed combinations, rare classes' companions."""
    index = {name: i for i, name in enumerate(class_names)}
    for name in class_names:
        for text in [HAND_TEMPLATE.format(name)] * copies + imagenet_templates(name):
            yield Row(text, "templates", (index[name],), False)
    for a, b in combinations(class_names, 2):
        yield Row(f"a photo of a {a} and a {b}.", "pairs", (index[a], index[b]), False)
    for names in groups:
        text = "a photo of " + " and ".join(f"a {name}" for name in names) + "."
        yield Row(text, "combinations", tuple(sorted(index[name] for name in names)), False)
    for name, things in companions.items():
        for thing in things:
            text = f"a photo of a {name} and a {thing.replace('_', ' ')}."
            yield Row(text, "companions", (index[name],), False)


def table_row(row: Row, texts: dict[str, tuple[int, str]]) -> dict[str, Any]:
    """A row of ROWS; `texts` grows, and has the number and first spelling of each text that CLIP tells apart."""
    key = " ".join(
        row.caption.lower().split()
    )  # CLIP's tokenizer sees no case and no further spaces
    number, _ = texts.setdefault(key, (len(texts), row.caption))
    return {
        "text": number,
        "source": row.source,
        "labels": list(row.labels),
        "held_out": row.held_out,
    }


class CaptionTable:
    """Captions as arrays: labels as indices, made dense by the batch."""

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        """Read the rows of the encode_captions stage, or (without text and split) of filter.

        Raises:
            InputError: the table is missing, not whole, or of another class list.
        """
        self.class_names = tuple(class_names)
        stage = path.parent.name
        needed = ("source", "labels")
        with tables.parquet(
            path, class_names, stage=stage, columns=needed, read_dictionary=["source"]
        ) as file:
            table = file.read()
        labels = table["labels"].combine_chunks()
        self._flat = labels.flatten().to_numpy()
        lengths = pc.list_value_length(labels).to_numpy(zero_copy_only=False)
        self._ends = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=self._ends[1:])
        count = len(table)
        has = table.column_names
        self.text = table["text"].to_numpy() if "text" in has else np.arange(count)
        held = table["held_out"].to_numpy() if "held_out" in has else np.zeros(count)
        self.held_out = held.astype(bool)
        coded = table["source"].unify_dictionaries().combine_chunks()
        self._sources = coded.dictionary.to_pylist()
        self._source = coded.indices.to_numpy().astype(np.int8)

    def select(self, sources: Sequence[str], *, held_out: bool | None = None) -> np.ndarray:
        """Indices of the rows of some sources, of one side of the split or of both."""
        codes = [code for code, name in enumerate(self._sources) if name in sources]
        chosen = np.isin(self._source, codes)
        if held_out is not None:
            chosen &= self.held_out == held_out
        return np.flatnonzero(chosen)

    def judges(self) -> np.ndarray:
        """Rows of written captions that are held out, but for those that read like one to train on."""
        held_out = self.select(GENERATED, held_out=True)
        return held_out[~np.isin(self.text[held_out], self.text[~self.held_out])]

    def generated_texts(self) -> np.ndarray:
        """The distinct texts that a chat model wrote and that are not held out, ascending.

        Raises:
            InputError: there is none, so nothing could be near anything.
        """
        found = np.unique(self.text[self.select(GENERATED, held_out=False)])
        if not len(found):
            raise InputError(
                "data/encode_captions holds no caption that a chat model wrote; run `dvc repro filter "
                "encode_captions`"
            )
        return found

    def labels(self, selected: np.ndarray) -> np.ndarray:
        """Dense labels of some rows, int8 of shape (row, class)."""
        begins, ends = self._ends[selected], self._ends[selected + 1]
        counts = ends - begins
        dense = np.zeros((len(selected), len(self.class_names)), np.int8)
        if len(selected):
            last = counts.cumsum()
            positions = np.arange(int(last[-1])) + np.repeat(begins - (last - counts), counts)
            dense[np.repeat(np.arange(len(selected)), counts), self._flat[positions]] = 1
        return dense

    def count_labels(self, selected: np.ndarray) -> np.ndarray:
        """How many of some rows name each class, of shape (class,)."""
        counts = np.zeros(len(self.class_names), np.int64)
        for part in np.array_split(selected, max(1, len(selected) // 50_000)):
            counts += self.labels(part).sum(axis=0, dtype=np.int64)
        return counts

    def statistics(self, selected: np.ndarray) -> LabelStatistics:
        """Counts and co-occurrences of some rows."""
        import torch

        count = np.zeros(len(self.class_names))
        together = np.zeros((len(self.class_names),) * 2)
        for part in np.array_split(selected, max(1, len(selected) // 50_000)):
            dense = self.labels(part).astype(np.float64)
            count += dense.sum(axis=0)
            together += dense.T @ dense
        np.fill_diagonal(together, 0)
        return LabelStatistics(
            torch.tensor(count, dtype=torch.float32),
            len(selected),
            torch.tensor(together, dtype=torch.float32),
        )
