"""A folder of pictures: the contest's layout, one folder per class, or any other.

    FOLDER/classes.json        names; a name's position is its label
    FOLDER/Scene/<any>/*.jpg   pictures
    FOLDER/labels.csv          where labels are known, in the form of a submission

A picture's row id is its position in natural order, in which 2.jpg comes before 10.jpg.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from clipworks.kit import tables
from clipworks.kit.classes import folded
from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE, check_names, is_hidden, walk
from clipworks.kit.images import is_picture
from clipworks.scenes import submissions
from clipworks.scenes.params import Folders

CLASSES, PICTURES, LABELS = "classes.json", "Scene", "labels.csv"


class Pictures(BaseModel):
    """A split's pictures, as data/world/SPLIT.json has them."""

    folder: str
    images: list[str]
    classes: list[str]


@dataclass(frozen=True)
class Listed:
    """Pictures of a folder in natural order, and their labels where the folder tells them."""

    folder: Path
    classes: tuple[str, ...]
    images: tuple[str, ...]  # relative to the folder
    labels: tuple[int, ...] | None


def natural_order(names: Iterable[str]) -> list[str]:
    """Runs of digits compare as whole numbers, the rest by code point."""

    def key(name: str) -> tuple[list[Any], str]:
        pieces = re.split(r"([0-9]+)", name)  # text and digits in turn, text first
        return [int(p) if i % 2 else p for i, p in enumerate(pieces)], name

    return sorted(names, key=key)


def pictures_in(folder: Path) -> list[str]:
    """Picture files under a folder, all the way down, relative to it, in natural order.

    A file counts by its extension, so that a broken picture is found and named later, and so is a link
    that leads nowhere.

    Raises:
        InputError: no such folder, no picture in it, or a name that no list can hold.
    """
    names = found_in(folder)
    check_names(names, folder)
    return names


def found_in(folder: Path) -> list[str]:
    """The same, names that are no UTF-8 too."""
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is no folder; give a folder of pictures")
    names = [name for name in walk(folder) if is_picture(name)]
    if not names:
        raise InputError(
            f"{folder} holds no pictures (nor do its sub-folders); known are files such as .jpg, "
            ".png and .webp"
        )
    return natural_order(names)


def read_classes(path: Path) -> tuple[str, ...]:
    """classes.json: a list of at least two names.

    Raises:
        InputError: another form, or a name twice.
    """
    names = tables.read_json(path)
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(n, str) for n in names):
        raise InputError(f"{path} must be a JSON list of at least two class names")
    low = [folded(name) for name in names]
    if twice := sorted({name for name in names if low.count(folded(name)) > 1}):
        raise InputError(f"{path} names {twice} twice")
    if "" in [name.strip() for name in names]:
        raise InputError(f"{path}: a class needs a name, and one is empty")
    return tuple(names)


def _why(images: Iterable[str]) -> str:
    loose = [name for name in images if "/" not in name]
    return f"{loose[0]} lies in no sub-folder" if loose else "one sub-folder is no two classes"


def _of_folders(top: Path, named: set[str]) -> tuple[str, ...]:
    """Classes by the names of sub-folders.

    Raises:
        InputError: one is empty, or two are the same name to a CLIP.
    """
    real = {(top / name).resolve() for name in named}  # of two links to one folder one is walked
    folders = [path for path in top.iterdir() if path.is_dir() and not is_hidden(path.name)]
    others = [p for p in folders if p.name not in named and p.resolve() not in real]
    bare = sorted(p.name for p in others if not real & set(p.resolve().parents))
    if inner := sorted(p.name for p in others if p.name not in bare):
        raise InputError(
            f"{top}: {', '.join(inner[:5])} leads into the folder of another class, and a picture cannot be of two; "
            "take the link away"
        )
    if bare:
        raise InputError(
            f"{top}: sub-folders without a picture: {', '.join(bare[:5])}; take them away, or name all classes in "
            f"{CLASSES}, which may have some that no picture shows"
        )
    low = [folded(name.strip()) for name in named]
    if twice := sorted(name for name in named if low.count(folded(name.strip())) > 1):
        raise InputError(
            f"{top}: sub-folders {twice} are one name to a CLIP; put their pictures together"
        )
    return tuple(sorted(named))


def read(folder: Path) -> Listed:
    """List a folder.

    Classes come from classes.json, or else from the names of the sub-folders. Labels come from
    labels.csv, or else from sub-folders that are all named as classes; the contest's one sub-folder
    of any name tells none.

    Raises:
        InputError: no pictures, some beside Scene/, neither classes.json nor sub-folders, or
            sub-folders of which some are classes and others not.
    """
    top = folder / PICTURES if (folder / PICTURES).is_dir() else folder
    images = pictures_in(top)
    if top != folder and (
        beside := [n for n in pictures_in(folder) if n.split("/")[0] != PICTURES]
    ):
        raise InputError(
            f"{folder}: {beside[0]} lies beside {PICTURES}/, where pictures are looked for ({len(beside)} do); "
            f"move it there, or away; a class's folder cannot be called {PICTURES}"
        )
    parents = [name.split("/")[0] if "/" in name else "" for name in images]
    if (folder / CLASSES).exists():
        classes = read_classes(folder / CLASSES)
    elif all(parents) and len(set(parents)) > 1:
        classes = _of_folders(top, set(parents))
    else:
        raise InputError(
            f"{folder}: no {CLASSES}, and {_why(images)}; "
            f'write {CLASSES}, such as ["kitchen", "street"], or put every picture into a folder of its class'
        )
    labels: list[int] | None = None
    if (folder / LABELS).exists():
        labels = submissions.read(
            folder / LABELS, rows=len(images), classes=len(classes), what="labels"
        ).tolist()
    elif set(parents) <= set(classes):
        labels = [classes.index(parent) for parent in parents]
    else:
        low = {name.lower() for name in classes}
        odd = next(name for name in images if name.split("/")[0] not in classes or "/" not in name)
        if any(parent.lower() in low for parent in parents):
            raise InputError(
                f"{top}: some sub-folders are named as classes, and {odd} lies in none of {list(classes)[:8]} "
                f"({CLASSES}); rename its folder, or tell labels by {LABELS}"
            )
    return Listed(top, classes, tuple(images), None if labels is None else tuple(labels))


def read_split(params: Folders, split: str) -> Listed:
    """List the folder of a split; without a validation folder that split has no pictures.

    Raises:
        InputError: the validation folder has other classes than the test folder, or pictures of it.
    """
    if Path(params.test) == NONE:
        raise InputError(f"world.folder.test: {NONE} stands there; give a folder of pictures")
    test = read(Path(params.test))
    if split == "test":
        return test
    if Path(params.validation) == NONE:
        return Listed(test.folder, test.classes, (), None)
    if Path(params.validation).resolve() == Path(params.test).resolve():
        raise InputError(
            f"world.folder: validation and test are the same pictures ({params.test}), so what is chosen would "
            f"be chosen on the test; give {NONE} for no validation split"
        )
    found = read(Path(params.validation))
    own = {os.path.realpath(test.folder / name) for name in test.images}
    if both := [one for one in found.images if os.path.realpath(found.folder / one) in own]:
        raise InputError(
            f"world.folder: {both[0]} of validation is a picture of the test too ({len(both)} are), so what is chosen "
            "would be chosen on the test; keep them apart"
        )
    if found.classes != test.classes:
        raise InputError(
            f"world.folder: {params.validation} has the classes {list(found.classes)}, "
            f"{params.test} has {list(test.classes)}; both need the same, in one order; a {CLASSES} in each can name them all"
        )
    return found
