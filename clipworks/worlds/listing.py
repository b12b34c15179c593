"""Images that lie elsewhere: listed where they are, never copied, their labels in one form.

Whatever the source, a split becomes a list of files and an annotation file in COCO's form. A label is 1
(shown), 0 (not shown) or -1 (not to be judged). A split may have no labels at all, or no images.
"""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE, can_be, check_names, check_plain, walk
from clipworks.kit.images import is_picture
from clipworks.worlds import coco, labels, nuswide, voc
from clipworks.worlds.instances import Instances
from clipworks.worlds.params import World

Split = Literal["validation", "test"]
WHERE = {
    "coco": (
        "the split's image folder, such as val2017",
        "its instances_*.json; both are on cocodataset.org/#download",
    ),
    "folder": (
        "a folder of images",
        "a .csv or .parquet table (image, tags), COCO JSON, or data/none where nothing is known",
    ),
    "voc2007": (
        "VOC2007/JPEGImages",
        "test.txt (or trainval.txt) in VOC2007/ImageSets/Main, from host.robots.ox.ac.uk/pascal/VOC/voc2007",
    ),
    "nuswide": (
        "NUS-WIDE's folder Flickr",
        "ImageList/TestImagelist.txt; from "
        "lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html",
    ),
}


LABEL_FOLDER = {
    "voc2007": "VOC2007/ImageSets/Main, where CLASS_test.txt lies for each class",
    "nuswide": "Groundtruth/TrainTestLabels, where Labels_CLASS_Test.txt lies for each class",
}


@dataclass(frozen=True)
class Found:
    """A split's files, and their annotations where they are known."""

    folder: Path | None
    images: list[str]
    annotations: Instances | None
    total: int = 0  # images there are, of which these are the first

    def listed(self) -> dict[str, Any]:
        """What data/world/SPLIT.json holds."""
        folder = self.folder.resolve().as_posix() if self.folder else ""
        return {"folder": folder, "images": self.images}


def find(world: World, split: Split, class_names: Sequence[str]) -> Found:
    """List a split's images, and read what is known of them.

    Raises:
        InputError: something is missing, or does not fit the classes: now, and not when metrics are
            computed, hours later.
    """
    check_place(world, split)
    folder, told = places(world, split)
    if folder is None:
        return Found(None, [], None)
    limit, drop = getattr(world, split), world.without_labels == "drop"
    if told is not None and told.suffix == ".json":
        there = files_of(folder) if world.source == "folder" else None
        annotations, total = coco.cut(told, class_names, limit=limit, drop=drop, there=there)
        return Found(folder, [entry["file_name"] for entry in annotations["images"]], annotations, total)  # fmt: skip
    images, known = _read(world, folder, told, class_names)
    if known is not None and drop and len(images):
        some = (known == 1).any(axis=1)
        images = [name for name, has in zip(images, some, strict=True) if has]
        known = known[some]
        if not images:
            raise InputError(
                f"world.files.{split}_labels: {told} lists no image that shows a class of the list, and "
                "world.without_labels is drop"
            )
    total, images = len(images), images[: limit or None]
    _check_files(images, told or folder)
    if not images:
        raise InputError(f"world.files.{split}_images: {folder} has no image to look at")
    if known is None:
        return Found(folder, images, None, total)
    return Found(folder, images, coco.of_labels(images, known[: len(images)], class_names), total)


def files_of(folder: Path) -> list[str]:
    """Image files under a folder, by their extensions."""
    return [name for name in walk(folder) if is_picture(name)]


def _check_files(images: Sequence[str], where: Path) -> None:
    """Raises InputError where a list names an image twice, or one outside of its folder."""
    seen: set[str] = set()
    for name in images:
        if name in seen:
            raise InputError(f"{where}: {name!r} stands there twice")
        if not can_be(name):
            raise InputError(f"{where}: {reprlib.repr(name)} is no name that a file can have")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{where}: {name!r} leads out of the image folder")
        seen.add(name)


def cut_short(found: Found, split: Split) -> str:
    """That not all images are taken, as a warning; empty where they are."""
    if found.total <= len(found.images):
        return ""
    return f"world.{split}: the first {len(found.images):,} of {found.total:,} images are taken; 0 takes all"


def missing(found: Found) -> str:
    """Which listed images are not in the folder, as a warning (`infer` will name them as bad); empty for none.

    Raises:
        InputError: none of them is there.
    """
    if found.folder is None:
        return ""
    gone = [name for name in found.images if not (found.folder / name).is_file()]
    if len(gone) == len(found.images):
        raise InputError(
            f"{found.folder} has none of the {len(gone):,} listed images, such as {gone[0]}"
        )
    if not gone:
        return ""
    return (
        f"{len(gone):,} of {len(found.images):,} listed images are not in {found.folder}: "
        f"{', '.join(gone[:5])}; they will count as bad images"
    )


def places(world: World, split: Split) -> tuple[Path | None, Path | None]:
    """Where a split's images and labels lie; None for nowhere."""
    paths = (Path(getattr(world.files, f"{split}_{kind}")) for kind in ("images", "labels"))
    folder, told = (None if path == NONE else path for path in paths)
    return folder, told


def check_place(world: World, split: Split) -> None:
    """Raises InputError where a split's images or labels are not there, with where to get them.

    A folder's labels may be missing, and of every source the whole validation split.
    """
    folder, told = places(world, split)
    images, wanted = WHERE[world.source]
    faults = []
    if folder is None and told is None and split == "validation":
        return
    if folder is None or not folder.is_dir():
        faults.append(f"world.files.{split}_images: {folder or NONE} is no folder; give {images}")
    if told is None and world.source != "folder":
        faults.append(f"world.files.{split}_labels: {NONE} stands there; give {wanted}")
    elif (
        told is not None
        and world.source == "folder"
        and told.suffix not in (".csv", ".parquet", ".json")
    ):
        faults.append(f"world.files.{split}_labels: {told} is none of what is read; give {wanted}")
    elif told is not None and not told.is_file():
        faults.append(f"world.files.{split}_labels: {told} is no file; give {wanted}")
    beside = Path(world.files.label_folder)
    if world.source in LABEL_FOLDER and (beside == NONE or not beside.is_dir()):
        faults.append(
            f"world.files.label_folder: {beside} is no folder; give {LABEL_FOLDER[world.source]}"
        )
    if faults:
        raise InputError("\n  ".join(faults))
    assert folder is not None
    check_plain(folder, f"world.files.{split}_images")
    if world.source in LABEL_FOLDER:
        check_plain(beside, "world.files.label_folder")


def _read(
    world: World, folder: Path, told: Path | None, class_names: Sequence[str]
) -> tuple[list[str], np.ndarray | None]:
    if world.source == "voc2007":
        assert told is not None, "check_place"
        beside = Path(world.files.label_folder)
        return voc.read(told, beside, class_names, difficult=world.difficult)
    if world.source == "nuswide":
        assert told is not None, "check_place"
        return nuswide.read(told, Path(world.files.label_folder), class_names)
    files = files_of(folder)
    check_names(files, folder)
    return files, None if told is None else labels.read(told, files, class_names)
