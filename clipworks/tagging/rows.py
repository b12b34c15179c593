"""Images in parquet tables: which column holds them, what their rows are called."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipworks.kit.errors import InputError
from clipworks.kit.places import holds_bytes


def column_of(schema: pa.Schema, path: Path) -> tuple[str, str | None]:
    """Columns of the content and of the name, in the forms that are common: `image` as
    {bytes, path} (Hugging Face datasets) or as bytes, `jpg`, `png` or `bytes`."""
    name = next(
        (n for n in ("name", "path", "file_name", "__key__", "id") if n in schema.names), None
    )
    for column in ("image", "jpg", "png", "webp", "bytes", "content"):
        if column in schema.names:
            kind = schema.field(column).type
            if (
                pa.types.is_struct(kind)
                or pa.types.is_binary(kind)
                or pa.types.is_large_binary(kind)
            ):
                return column, name
    raise InputError(
        f"{path}: no column of images; known are image (bytes, or {{bytes, path}}), jpg, png, webp, "
        f"bytes and content, and it has { {name: str(schema.field(name).type) for name in schema.names} }"
    )


def read(path: Path, group: int, shown: str) -> Iterator[tuple[str, bytes | Exception]]:
    """Images of a row group. A row is called by its table and its column of names, and by its place too
    where another row of the table is called so, or nothing."""
    try:
        with pq.ParquetFile(path) as file:
            column, name = column_of(file.schema_arrow, path)
            told = name or (f"{column}.path" if _has_path(file.schema_arrow, column) else None)
            repeated = _repeated(str(path), path.stat().st_mtime_ns, told) if told else frozenset()
            wanted = [column] if name is None else [column, name]
            place = sum(file.metadata.row_group(i).num_rows for i in range(group))
            for batch in file.iter_batches(batch_size=64, row_groups=[group], columns=wanted):
                labels = _texts(batch, told)
                for content, label in zip(_contents(batch, column), labels, strict=True):
                    bare = label in (None, "")
                    called = f"{shown}:{place}" if bare else f"{shown}/{str(label).lstrip('/')}"
                    called += f" (row {place})" if not bare and str(label) in repeated else ""
                    place += 1
                    yield called, content if content is not None else InputError("the row holds no image (a path alone is not followed)")  # fmt: skip
    except (pa.ArrowException, OSError, IndexError) as error:
        yield f"{shown} (the rest of row group {group})", InputError(f"the table ends in a fault: {error}")  # fmt: skip


def _contents(batch: pa.RecordBatch, column: str) -> list[bytes | None]:
    values = batch.column(column)
    if pa.types.is_struct(values.type):
        has = values.type.get_field_index("bytes") >= 0
        values = pc.struct_field(values, "bytes") if has else pa.nulls(len(values))
    found: list[bytes | None] = values.to_pylist()
    return found


def _texts(batch: pa.RecordBatch, told: str | None) -> list[str | None]:
    """A column's values as text, `COLUMN.path` of a struct too; bytes that are no UTF-8 stand as \\xff."""
    if told is None:
        return [None] * len(batch)
    column, inner = (told, "") if told in batch.schema.names else told.rsplit(".", 1)
    values = batch.column(column)
    values = pc.struct_field(values, inner) if inner else values
    if _is_text(values.type):
        values = values.cast(pa.binary())
    return [_text(one) for one in values.to_pylist()]


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return None if value is None else str(value)


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _has_path(schema: pa.Schema, column: str) -> bool:
    kind = schema.field(column).type
    return pa.types.is_struct(kind) and kind.get_field_index("path") >= 0


@lru_cache(maxsize=4)
def _repeated(path: str, mtime: int, column: str) -> frozenset[str]:
    """Names that several rows of a table have; `mtime` tells it from another state of itself."""
    seen: set[str] = set()
    twice: set[str] = set()
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            try:
                wanted = file.read_row_group(group, columns=[column]).to_batches()
            except (pa.ArrowException, OSError):
                continue  # who reads that group says so
            for label in (label for batch in wanted for label in _texts(batch, column)):
                (twice if str(label) in seen else seen).add(str(label))
    return frozenset(twice)


def is_broken(path: Path) -> bool:
    """Whether a file calls itself a parquet table and is none."""
    if path.suffix.lower() != ".parquet":
        return False
    try:
        pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return True
    return False


def holds_none(path: Path) -> bool:
    """Whether a table holds no images, for all that one can tell: it has no known column of them, and speaks
    of images by their names, or has no bytes that could be some. Labels and our own results are such."""
    if path.suffix.lower() != ".parquet" or is_broken(path):
        return False
    schema = pq.read_schema(path)
    try:
        column_of(schema, path)
    except InputError:
        kind = schema.field("image").type if "image" in schema.names else pa.null()
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return _is_text(kind) or not holds_bytes(path)
    return False
