"""Rows on the validation split, whose labels are known to all."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from clipworks.kit.errors import InputError
from clipworks.retrieval import measures, parsed, results
from clipworks.retrieval.asking import Asked, Gallery
from clipworks.retrieval.measures import Judged


def on_validation(records: Path, found: Path) -> dict[str, float]:
    """mAP@10 of each row there, in [0, 1]."""
    listed, files = parsed.read(records)
    gallery, asked = Gallery.of(listed, files), Asked.of(listed)
    rows, names = results.read(found, len(asked.texts))
    if names != [path.name for path in gallery.paths]:
        raise InputError(f"{found} is of other pictures than {records}; {results.AGAIN}")
    return {
        row: float(measures.average_precision(Judged.of(top, gallery.attributes, asked.attributes)).mean())
        for row, top in rows.items()
    }  # fmt: skip


def known(row: str, rows: Iterable[str], *, key: str) -> None:
    """Raises InputError for a row that was not searched."""
    there = list(rows)
    if row not in there:
        close = difflib.get_close_matches(row, there, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{key}: no row {row!r}; there are {there}{hint}")
