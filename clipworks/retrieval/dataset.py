"""The organisers' layout on disk, read and written.

    ROOT/train/train_images/*.jpg   ROOT/train/train_label.txt   image$attribute$caption
    ROOT/val/val_images/*.jpg       ROOT/val/val_label.txt
    ROOT/test/test_images/*.jpg     ROOT/test/test_text.txt      a query a line

The truth of the test split, where it is known, lies elsewhere: see `truth`.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from clipworks.kit import files
from clipworks.kit.errors import InputError
from clipworks.kit.images import is_picture
from clipworks.retrieval.records import phrase_of

Split = Literal["train", "val", "test"]
LABELLED: tuple[Split, Split] = ("train", "val")
LABELS, QUERIES = "label.txt", "test_text.txt"
GALLERY_TRUTH, QUERY_TRUTH = "test_label.txt", "test_attribute.txt"


def images(root: Path, split: Split) -> Path:
    """Where a split's pictures lie."""
    return root / split / f"{split}_images"


def labels(root: Path, split: Split) -> Path:
    """A split's label file."""
    return root / split / f"{split}_{LABELS}"


def lines(path: Path) -> list[str]:
    """Lines of a text file, without what ends them; empty lines at the end go.

    Raises:
        InputError: the file cannot be read.
    """
    text = files.read_text(path).rstrip()
    return text.split("\n") if text else []


def queries(root: Path) -> list[str]:
    """The test queries, as they are given.

    Raises:
        InputError: none, or an empty one.
    """
    path = root / "test" / QUERIES
    found = [line.strip() for line in lines(path)]
    if not found:
        raise InputError(f"{path} holds no query")
    if "" in found:
        raise InputError(f"{path}, line {found.index('') + 1}: an empty query")
    return found


def gallery(root: Path) -> list[str]:
    """Names of the test pictures by code points, the order that breaks ties.

    Raises:
        InputError: no such folder, or no picture in it.
    """
    folder = images(root, "test")
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; the gallery's pictures belong there")
    found = [name for name in files.walk(folder) if is_picture(name)]
    if deep := [name for name in found if "/" in name]:
        raise InputError(
            f"{folder}: {deep[0]} lies in a folder of its own ({len(deep)} do); a submission names pictures alone, "
            "so put them into one folder"
        )
    if not found:
        raise InputError(f"{folder} holds no pictures: the gallery is empty")
    files.check_names(found, folder)
    return found


def file_of(folder: Path, image: str) -> Path:
    """A picture's file; the organisers write some names without their extension.

    Raises:
        InputError: there is none, or nothing in it.
    """
    for name in (image, f"{image}.jpg"):
        if (folder / name).is_file():
            if not (folder / name).stat().st_size:
                raise InputError(f"{folder / name} is empty (0 bytes), and the labels name it")
            return folder / name
    raise InputError(f"{folder / image} does not exist, but the labels name it")


class Where(BaseModel):
    """What data/world/where.json says."""

    root: str


@dataclass(frozen=True)
class Truth:
    """Attributes of gallery and queries; the stage that evaluates reads them, and `check`, which keeps nothing."""

    gallery: dict[str, str]
    queries: list[str]

    def unanswered(self) -> list[str]:
        """Attributes that are asked for, and that no picture shows."""
        return sorted(set(self.queries) - set(self.gallery.values()))


def pairs_text(pairs: Iterable[tuple[str, str]]) -> str:
    """A training table as open_clip's trainer reads it: filepath and title, tab-separated."""
    out = io.StringIO()
    table = csv.writer(out, delimiter="\t", lineterminator="\n")
    table.writerow(("filepath", "title"))
    table.writerows(pairs)
    return out.getvalue()


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Read such a table.

    Raises:
        InputError: a line that has not two fields, with its number.
    """
    rows = list(csv.reader(io.StringIO(files.read_text(path)), delimiter="\t"))
    for number, row in enumerate(rows, start=1):
        if len(row) != 2 or not all(row):
            raise InputError(
                f"{path}, line {number}: two fields are expected, neither empty, not {row}"
            )
    if not rows or rows[0] != ["filepath", "title"]:
        raise InputError(f"{path}, line 1: the header must be filepath and title")
    return [(file, title) for file, title in rows[1:]]


def join(names: Sequence[str]) -> str:
    """Lines of a text file."""
    return "".join(f"{name}\n" for name in names)


def read_truth(folder: Path, images: Sequence[str], queries: Sequence[str]) -> Truth | None:
    """What the test split shows and asks for; None where it is not known.

    Raises:
        InputError: one file of the two, a picture without a line, a line without a picture or without
            an attribute, other numbers of queries and attributes, or no query that some picture answers.
    """
    gallery, asked = folder / GALLERY_TRUTH, folder / QUERY_TRUTH
    if not gallery.exists() and not asked.exists():
        return None
    for there, other in ((gallery, asked), (asked, gallery)):
        if not other.exists():
            raise InputError(f"{there} lies without {other.name}; give both, or neither")
    shown: dict[str, str] = {}
    for number, line in enumerate(lines(gallery), start=1):
        image, _, rest = (part.strip() for part in line.partition("$"))
        attribute = phrase_of(rest.partition("$")[0].strip())
        if not image or not attribute:
            raise InputError(f"{gallery}, line {number}: an image$attribute is expected")
        if image in shown:
            raise InputError(f"{gallery}, line {number}: {image!r} stands there twice")
        shown[image] = attribute
    wanted = [phrase_of(line.strip()) for line in lines(asked)]
    if "" in wanted:
        raise InputError(f"{asked}, line {wanted.index('') + 1}: an attribute is expected")
    if missing := [name for name in images if name not in shown]:
        raise InputError(f"{gallery} has no line of {missing[0]} ({len(missing)} are missing)")
    if unknown := sorted(set(shown) - set(images)):
        raise InputError(
            f"{gallery} names {unknown[0]!r}, which is no picture of the gallery ({len(unknown)} are not)"
        )
    if len(wanted) != len(queries):
        raise InputError(f"{asked} has {len(wanted)} attributes for {len(queries)} queries")
    truth = Truth({name: shown[name] for name in images}, wanted)
    if len(none := truth.unanswered()) == len(set(wanted)):
        raise InputError(
            f"{asked}: no picture of {gallery.name} shows {none[0]!r}, nor any other attribute that is asked for; "
            "attributes must match letter by letter"
        )
    return truth
