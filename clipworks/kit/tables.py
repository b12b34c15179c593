"""Tables on disk: parquet written in batches, so that memory does not grow with the rows."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipworks.kit import files
from clipworks.kit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd  # imported by those who make one

ROW_GROUP = 20_000


class Writer:
    """Appends rows to a parquet file, a row group at a time."""

    def __init__(
        self, path: Path, schema: pa.Schema, metadata: dict[str, str] | None = None
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = schema.with_metadata(metadata) if metadata else schema
        self._writer = pq.ParquetWriter(str(path), self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self.count = 0

    def add(self, **row: Any) -> None:
        """Append one row; every column must be named."""
        self._rows.append(row)
        self.count += 1
        if len(self._rows) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exc: object) -> None:
        self._flush()
        self._writer.close()


def rows(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a parquet file, read in batches.

    Raises:
        InputError: the file is missing.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; run the stage that writes it (`dvc repro`)")
    with pq.ParquetFile(str(path)) as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, columns=columns):
            yield from batch.to_pylist()


def write_json(path: Path, value: Any) -> None:
    """Write JSON with stable formatting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON; a missing file names the stage to run."""
    if not path.exists():
        raise InputError(f"{path} does not exist; run the stage that writes it (`dvc repro`)")
    return files.read_json(path)


def write_tsv(path: Path, header: Iterable[str], lines: Iterable[Iterable[Any]]) -> None:
    """A small table for `dvc plots`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join("\t".join(str(value) for value in line) for line in [header, *lines])
    path.write_text(text + "\n", encoding="utf-8")


def write_frame(path: Path, frame: "pd.DataFrame") -> None:
    """A table that people read or `dvc plots` draws, as tab-separated values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, sep="\t", index=False, lineterminator="\n")
