"""Tables on disk: parquet written in batches, so that memory does not grow with the rows."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from clipworks.kit import files
from clipworks.kit.classes import check_same
from clipworks.kit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd  # imported by those who make one

ROW_GROUP = 20_000


class Writer:
    """Appends rows to a parquet file, a row group at a time: whole in the end, or not there at all."""

    def __init__(
        self, path: Path, schema: pa.Schema, metadata: dict[str, str] | None = None
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = schema.with_metadata(metadata) if metadata else schema
        self._path, self._draft = path, path.with_name(f"{path.name}.tmp")
        self._writer = pq.ParquetWriter(str(self._draft), self._schema, compression="zstd")
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(OSError):  # the disk may be full
                self._writer.close()
            self._draft.unlink()
            return
        self._flush()
        self._writer.close()
        self._draft.replace(self._path)


def parquet(
    path: Path,
    class_names: Sequence[str] | None = None,
    *,
    stage: str = "",
    made_by: str = "run the stage that writes it again",
    columns: Sequence[str] = (),
    form: pa.Schema | None = None,
    **options: Any,
) -> pq.ParquetFile:
    """A parquet file.

    Args:
        class_names: the class list that its labels must be of, if it says of which they are.
        stage: what writes it, for messages.
        made_by: what to do where it is not whole, for messages.
        columns: that it must have.
        form: columns that it must have, in these types.

    Raises:
        InputError: it is missing, not whole, lacks a column, or is of another class list.
    """
    files.check_stored(path)
    try:
        file = pq.ParquetFile(str(path), **options)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is no whole parquet file ({error}); {made_by}") from None
    except KeyError as error:  # a column that is read in a way of its own
        raise InputError(f"{path} has no column {error}; {made_by}") from None
    types = {field.name: field.type for field in form or ()}
    own = {field.name: field.type for field in file.schema_arrow}
    if lacking := sorted({*columns, *types} - own.keys()):
        raise InputError(f"{path} has no columns {lacking}; {made_by}")
    if odd := [name for name, kind in types.items() if own[name] != kind]:
        raise InputError(f"{path} has columns of other types: {odd}; {made_by}")
    stored = (file.schema_arrow.metadata or {}).get(b"class_names")
    if class_names is not None and stored is not None:
        check_same(json.loads(stored), class_names, what=str(path), stage=stage)
    return file


def rows(
    path: Path,
    columns: list[str] | None = None,
    *,
    form: pa.Schema | None = None,
    class_names: Sequence[str] | None = None,
    stage: str = "",
) -> Iterator[dict[str, Any]]:
    """Rows of a parquet file, some columns or all, read in batches.

    Args:
        form: instead of columns: these, in their types, none without a value.

    Raises:
        InputError: a row without a value; `parquet` says what else.
    """
    names = columns if form is None else form.names
    with parquet(path, class_names, stage=stage, columns=names or (), form=form) as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, columns=names):
            if form and (bare := [name for name in form.names if batch.column(name).null_count]):
                raise InputError(
                    f"{path}: rows without a value in {bare}; run the stage that writes it again"
                )
            yield from batch.to_pylist()


def write_json(path: Path, value: Any) -> None:
    """Write JSON with stable formatting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, form: Any = Any) -> Any:
    """JSON that a stage wrote.

    Args:
        form: the type of its content, as pydantic knows types; a model stands for what must be in it.

    Raises:
        InputError: it is missing, no JSON, or of another form.
    """
    files.check_stored(path)
    content = files.read_json(path)
    try:
        TypeAdapter(form).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its content"
        raise InputError(
            f"{path} is not as its stage wrote it ({place}: {first['msg']}); `dvc checkout {path}` or "
            "`dvc repro` brings it back"
        ) from None
    return content


def write_tsv(path: Path, header: Iterable[str], lines: Iterable[Iterable[Any]]) -> None:
    """A small table for `dvc plots`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join("\t".join(str(value) for value in line) for line in [header, *lines])
    path.write_text(text + "\n", encoding="utf-8")


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """A frame as CSV. A carriage return in a name would end its line, so then all texts are quoted."""
    odd = frame.select_dtypes(exclude="number").map(lambda value: "\r" in str(value)).any(axis=None)
    frame.to_csv(
        path,
        index=False,
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL,
    )


def write_frame(path: Path, frame: "pd.DataFrame") -> None:
    """A table that people read or `dvc plots` draws, as tab-separated values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, sep="\t", index=False, lineterminator="\n")
