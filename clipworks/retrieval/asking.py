"""What is searched, and what is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipworks.retrieval.queries import Prefix, encoded
from clipworks.retrieval.records import Kind, Record


@dataclass(frozen=True)
class Gallery:
    """Pictures to search, in the order that breaks ties."""

    paths: tuple[Path, ...]
    attributes: tuple[str, ...]

    @classmethod
    def of(cls, records: Sequence[Record], files: Sequence[Path]) -> "Gallery":
        """The pictures of some records, by name."""
        order = sorted(range(len(records)), key=lambda i: files[i].name)
        return cls(
            tuple(files[i] for i in order), tuple(records[i].attribute for i in order)
        )  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """Queries: their text as given, of what kind they are, and the attribute that they ask for."""

    texts: tuple[str, ...]
    kinds: tuple[Kind, ...]
    attributes: tuple[str, ...]

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Asked":
        """The captions of some records, each once."""
        distinct = {(r.caption, r.attribute): r for r in records}.values()
        return cls(
            tuple(r.caption for r in distinct),
            tuple(r.kind for r in distinct),
            tuple(r.attribute for r in distinct),
        )

    def encoded(self, prefix: Prefix, suffix: Mapping[Kind, str]) -> list[str]:
        """What the text tower is given.

        Args:
            suffix: of queries of each kind; none where it is not named.
        """
        return [
            encoded(text, kind, prefix=prefix, suffix=suffix.get(kind, ""))
            for text, kind in zip(self.texts, self.kinds, strict=True)
        ]
