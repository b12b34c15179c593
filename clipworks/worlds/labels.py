"""Labels of a folder's images as a table: image and tags, in CSV or parquet."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clipworks.kit import tables
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
    column = {name.lower(): i for i, name in enumerate(class_names)}
    found = np.zeros((len(files), len(class_names)), np.int8)
    seen: set[str] = set()
    for where, image, tags in _lines(path):
        if image not in row:
            raise InputError(f"{path}, {where}: there is no image {image!r} in the folder")
        if image in seen:
            raise InputError(f"{path}, {where}: {image!r} stands there twice")
        seen.add(image)
        for tag in tags:
            if tag.lower() not in column:
                raise InputError(f"{path}, {where}: {tag!r} is no class of the list")
            found[row[image], column[tag.lower()]] = 1
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
        for number, line in enumerate(tables.rows(path, ["image", "tags"])):
            tags = [] if line["tags"] is None else line["tags"]
            tags = _split(tags) if isinstance(tags, str) else tags
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise InputError(f"{path}, row {number}: {tags!r} are no tags; labels need {FORM}")
            yield f"row {number}", line["image"], tags
        return
    reader = csv.DictReader(read_text(path).splitlines(), restkey=MORE)
    _check(reader.fieldnames or (), path)
    for line in reader:
        if MORE in line:  # what stands behind the last column's name
            raise InputError(
                f"{path}, line {reader.line_num}: {len(line) - 1 + len(line[MORE])} fields where the header "
                f"has {len(line) - 1}; separate tags by semicolons"
            )
        yield f"line {reader.line_num}", line["image"], _split(line["tags"] or "")


def _check(columns: Sequence[str], path: Path) -> None:
    if not {"image", "tags"} <= set(columns):
        raise InputError(f"{path} has the columns {list(columns)}; labels need {FORM}")


def _split(text: str) -> list[str]:
    return [tag.strip() for tag in text.split(";") if tag.strip()]
