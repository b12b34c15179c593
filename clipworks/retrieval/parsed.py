"""Records on disk, between the stage that parses and those that use them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pyarrow as pa
from pydantic import BaseModel

from clipworks.kit import tables
from clipworks.kit.errors import InputError
from clipworks.kit.tables import Writer
from clipworks.retrieval import dataset
from clipworks.retrieval.records import Fault, Kind, Record, check, repeated, same
from clipworks.retrieval.records import read as read_lines

SCHEMA = pa.schema(
    {"image": pa.string(), "file": pa.string(), "kind": pa.string(), "attribute": pa.string(),
     "caption": pa.string(), "completed": pa.string()}
)  # fmt: skip


def labelled(
    root: Path, split: dataset.Split, *, skip_bad: bool
) -> tuple[list[Record], list[Path], list[Fault]]:
    """A split's records, the files of their pictures, and what cannot be read.

    Args:
        skip_bad: leave out lines that cannot be read, and an image's second line.

    Raises:
        InputError: there are such lines and `skip_bad` is not set, no line at all, or a picture is missing.
    """
    path = dataset.labels(root, split)
    if not (lines := dataset.lines(path)):
        raise InputError(f"{path} holds no line; it must hold image$attribute$caption a line")
    good, bad = read_lines(lines)
    bad = sorted([*bad, *repeated(lines, bad)], key=lambda fault: fault.line)
    if not skip_bad:
        check(bad, path)
    good = list({same(record.image): record for record in reversed(good)}.values())[::-1]
    if not good:
        first = bad[0]
        raise InputError(
            f"{path}: none of {len(lines)} lines can be read (line {first.line}: {first.field} {first.why})"
        )
    files = [dataset.file_of(dataset.images(root, split), record.image) for record in good]
    return good, files, bad


def digest(file: Path) -> str:
    """A picture's MD5, by which DVC would know it."""
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


class Query(BaseModel):
    """A test query, as data/parse/queries.json has it."""

    text: str
    kind: Kind


def write(path: Path, records: Sequence[Record], files: Sequence[Path]) -> None:
    """Records with the files of their pictures."""
    with Writer(path, SCHEMA) as table:
        for record, file in zip(records, files, strict=True):
            table.add(**vars(record), file=file.as_posix())


def read(path: Path) -> tuple[list[Record], list[Path]]:
    """Records, and the files of their pictures.

    Raises:
        InputError: the table holds something else.
    """
    records, files = [], []
    for row in tables.rows(path, form=SCHEMA):
        files.append(Path(row.pop("file")))
        records.append(Record(cast(Kind, row.pop("kind")), **row))
    if not records:
        raise InputError(f"{path} holds no records; run `dvc repro parse`")
    return records, files


def queries(path: Path) -> tuple[list[str], list[Kind]]:
    """The test queries and of what kind each is."""
    found = tables.read_json(path, list[Query])
    return [one["text"] for one in found], [one["kind"] for one in found]
