"""Tables on disk: parquet written in batches, so that memory does not grow with the rows."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipworks.kit import files
from clipworks.kit.classes import check_same
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


def parquet(
    path: Path,
    class_names: Sequence[str] | None = None,
    *,
    stage: str = "",
    made_by: str = "run the stage that writes it again",
    **options: Any,
) -> pq.ParquetFile:
    """A parquet file.

    Args:
        class_names: the class list that its labels must be of, if it says of which they are.
        stage: what writes it, for messages.
        made_by: what to do where it is not whole, for messages.

    Raises:
        InputError: it is missing, not whole, or of another class list.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; run the stage that writes it (`dvc repro`)")
    try:
        file = pq.ParquetFile(str(path), **options)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is no whole parquet file ({error}); {made_by}") from None
    stored = (file.schema_arrow.metadata or {}).get(b"class_names")
    if class_names is not None and stored is not None:
        check_same(json.loads(stored), class_names, what=str(path), stage=stage)
    return file


def rows(
    path: Path,
    columns: list[str] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    stage: str = "",
) -> Iterator[dict[str, Any]]:
    """Rows of a parquet file, read in batches; `parquet` says what it raises."""
    with parquet(path, class_names, stage=stage) as file:
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
