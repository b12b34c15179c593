"""Labels of a folder's images as a table: image and tags, in CSV or parquet."""

import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from clipworks.kit import tables
from clipworks.kit.classes import folded
from clipworks.kit.errors import InputError
from clipworks.kit.files import read_text

FORM = "two columns, image and tags; a CSV separates tags by semicolons, parquet may hold lists"

MORE = "\0"  # fields without a column


def read(path: Path, files: Sequence[str], class_names: Sequence[str]) -> np.ndarray:
    """Labels of some images, int8 of shape (image, class); what an image does not list, it does not show.

    Raises:
        InputError: another form, a tag that is no class, an image that is not in the folder, with the
            line, or images of the folder that the table leaves out.
    """
    row = {name: number for number, name in enumerate(files)}
    column = {folded(name): i for i, name in enumerate(class_names)}
    found = np.zeros((len(files), len(class_names)), np.int8)
    seen: set[str] = set()
    alike = {unicodedata.normalize("NFC", name): name for name in files}
    for where, image, tags in _lines(path):
        # A Mac writes é as e with an accent behind it: the same name in other code points.
        image = image if image in row else alike.get(unicodedata.normalize("NFC", image), image)
        if image not in row:
            inside = next((name for name in files if image.endswith(f"/{name}")), None)
            hint = f"; names are relative to it, such as {inside!r}" if inside else ""
            raise InputError(f"{path}, {where}: there is no image {image!r} in the folder{hint}")
        if image in seen:
            raise InputError(f"{path}, {where}: {image!r} stands there twice")
        seen.add(image)
        for tag in tags:
            if folded(tag) not in column:
                raise InputError(f"{path}, {where}: {tag!r} is no class of the list")
            found[row[image], column[folded(tag)]] = 1
    if left := [name for name in files if name not in seen]:
        raise InputError(
            f"{path} says nothing of {len(left)} images of the folder: {', '.join(left[:5])}; give each a "
            "line, with empty tags where it shows no class, or take it out of the folder"
        )
    return found


def _lines(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    if path.suffix == ".parquet":
        with tables.parquet(path, made_by="give a table as parquet or CSV writes it") as file:
            _check(file.schema_arrow.names, path)
        for number, row in enumerate(tables.rows(path, ["image", "tags"])):
            if not isinstance(row["image"], str):
                raise InputError(f"{path}, row {number}: {row['image']!r} is no file name; labels need {FORM}")  # fmt: skip
            tags = [] if row["tags"] is None else row["tags"]
            tags = _split(tags) if isinstance(tags, str) else tags
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise InputError(f"{path}, row {number}: {tags!r} are no tags; labels need {FORM}")
            yield f"row {number}", row["image"], tags
        return
    reader = csv.DictReader(io.StringIO(read_text(path)), restkey=MORE, strict=True)
    _check(_fields(reader, path), path)
    while (line := _next(reader, path)) is not None:
        if line["image"] is None or line["tags"] is None:
            raise InputError(
                f"{path}, line {reader.line_num}: fewer fields than the header's {len(line)}; an image that "
                "shows no class has empty tags, such as 'a.jpg,'"
            )
        if MORE in line:  # what stands behind the last column's name
            raise InputError(
                f"{path}, line {reader.line_num}: {len(line) - 1 + len(line[MORE])} fields where the header "
                f"has {len(line) - 1}; separate tags by semicolons"
            )
        yield f"line {reader.line_num}", line["image"], _split(line["tags"])


def _fields(reader: Any, path: Path) -> Sequence[str]:
    with _quotes(reader, path):
        return reader.fieldnames or ()


def _next(reader: Any, path: Path) -> dict[str, Any] | None:
    with _quotes(reader, path):
        return next(reader, None)


@contextmanager
def _quotes(reader: Any, path: Path) -> Iterator[None]:
    """Raises InputError where lines are no CSV: mostly a quotation mark that nothing closes."""
    begun = reader.reader.line_num + 1
    try:
        yield
    except csv.Error as error:
        raise InputError(
            f"{path}, line {begun}: no valid CSV ({error}); is a quotation mark not closed?"
        ) from None


def _check(columns: Sequence[str], path: Path) -> None:
    if any(list(columns).count(name) != 1 for name in ("image", "tags")):
        raise InputError(f"{path} has the columns {list(columns)}; labels need {FORM}")


def _split(text: str) -> list[str]:
    return [tag.strip() for tag in text.split(";") if tag.strip()]
