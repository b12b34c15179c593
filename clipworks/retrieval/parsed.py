"""Records on disk, between the stage that parses and those that use them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import pyarrow as pa

from clipworks.kit import tables
from clipworks.kit.tables import Writer
from clipworks.retrieval.records import Kind, Record

SCHEMA = pa.schema(
    {"image": pa.string(), "file": pa.string(), "kind": pa.string(), "attribute": pa.string(),
     "caption": pa.string(), "completed": pa.string()}
)  # fmt: skip


def write(path: Path, records: Sequence[Record], files: Sequence[Path]) -> None:
    """Records with the files of their pictures."""
    with Writer(path, SCHEMA) as table:
        for record, file in zip(records, files, strict=True):
            table.add(**vars(record), file=file.as_posix())


def read(path: Path) -> tuple[list[Record], list[Path]]:
    """Records, and the files of their pictures."""
    records, files = [], []
    for row in tables.rows(path, SCHEMA.names):
        files.append(Path(row.pop("file")))
        records.append(Record(cast(Kind, row.pop("kind")), **row))
    return records, files


def queries(path: Path) -> tuple[list[str], list[Kind]]:
    """The test queries and of what kind each is."""
    found = tables.read_json(path, list[dict[Literal["text", "kind"], str]])
    return [one["text"] for one in found], [one["kind"] for one in found]
