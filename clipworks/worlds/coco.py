"""Annotations in COCO's instances format: the miniature world writes what COCO ships."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipworks.kit.classes import folded
from clipworks.kit.errors import InputError
from clipworks.kit.tables import write_json
from clipworks.miniature.glyphs import Placed
from clipworks.worlds.instances import Instances, read

UNKNOWN = "null\n"  # annotations of images of which nothing is known


def write(
    path: Path, class_names: Sequence[str], scenes: Sequence[tuple[str, int, list[Placed]]]
) -> None:
    """Write instances: (file name, side in pixels, objects) of each image."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, side, placed) in enumerate(scenes, 1):
        images.append({"id": image_id, "file_name": name, "width": side, "height": side})
        for item in placed:
            if item.name is None:
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": class_names.index(item.name) + 1,
                    "bbox": list(item.box),
                    "area": item.area,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(class_names, 1)]
    write_json(path, {"images": images, "annotations": annotations, "categories": categories})


def labels_of(path: Path, class_names: Sequence[str], files: Sequence[str]) -> np.ndarray | None:
    """Labels of some images, in their order, int8 of shape (image, class); None where the file holds null:
    nothing is known."""
    if not _told(path):
        return None
    known, labels = read_labels(path, class_names)
    row = {name: number for number, name in enumerate(known)}
    if missing := [name for name in files if name not in row]:
        raise InputError(f"{path}: lists no image {missing[0]!r} ({len(missing)} are missing)")
    return labels[[row[name] for name in files]]


def _told(path: Path) -> bool:
    """Whether the world stage was told labels; it writes null where it was not."""
    if not path.exists() or not path.stat().st_size:
        raise InputError(f"{path} does not exist, or is empty; run `dvc repro world`")
    return path.stat().st_size > len(UNKNOWN) or path.read_text(encoding="utf-8") != UNKNOWN


def read_labels(path: Path, class_names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Which classes each annotated image shows.

    Images without any object of the list keep a row of zeros: they are true negatives.

    Returns:
        file names, and labels of shape (image, class), int8.

    Raises:
        InputError: the file is not in COCO's format, or a class of the list is no category in it.
    """
    content = read(path)
    return [entry["file_name"] for entry in content["images"]], labels_in(
        content, class_names, path
    )


def labels_in(content: Instances, class_names: Sequence[str], path: Path) -> np.ndarray:
    """Labels of all images of what `read` read, int8 of shape (image, class).

    Raises:
        InputError: a class of the list is no category, or an annotation names what there is not.
    """
    categories = {entry["id"]: folded(entry["name"]) for entry in content["categories"]}
    known_names = set(categories.values())
    if missing := sorted(name for name in class_names if folded(name) not in known_names):
        named = sorted(entry["name"] for entry in content["categories"])
        raise InputError(f"{path}: no category {missing}; its categories are {named}")
    column = {folded(name): i for i, name in enumerate(class_names)}
    rows = {entry["id"]: row for row, entry in enumerate(content["images"])}
    labels = np.zeros((len(rows), len(class_names)), np.int8)
    for entry in content["annotations"]:
        for part, key, known in (
            ("categories", "category_id", categories),
            ("images", "image_id", rows),
        ):
            if entry[key] not in known:
                raise InputError(
                    f"{path}: annotation {entry.get('id')} has the {key} {entry[key]!r}, which none of "
                    f"{part} has; their ids are such as {next(iter(known), 'none')!r}"
                )
        if (name := categories[entry["category_id"]]) in column:
            place = rows[entry["image_id"]], column[name]
            labels[place] = 1 if labels[place] == 1 or not entry.get("ignore") else -1
    return labels


def of_labels(images: Sequence[str], labels: np.ndarray, class_names: Sequence[str]) -> Instances:
    """Labels without boxes in COCO's form; what is not to be judged (-1) gets "ignore": 1."""
    found = [
        {"id": number, "image_id": int(row) + 1, "category_id": int(column) + 1}
        | ({} if labels[row, column] == 1 else {"ignore": 1})
        for number, (row, column) in enumerate(np.argwhere(labels != 0), 1)
    ]
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(images, 1)],
        "annotations": found,
        "categories": [{"id": i, "name": name} for i, name in enumerate(class_names, 1)],
    }


def _check_images(content: Instances, path: Path, there: Sequence[str]) -> None:
    """Raises InputError where a file does not list exactly the images of a folder."""
    listed = {entry["file_name"] for entry in content["images"]}
    if strange := sorted(listed - set(there)):
        raise InputError(
            f"{path}: there is no image {strange[0]!r} in the folder ({len(strange)} are missing)"
        )
    if left := [name for name in there if name not in listed]:
        raise InputError(
            f"{path} says nothing of {len(left)} images of the folder: {', '.join(left[:5])}; list each, "
            "take it out of the folder, or choose world.source=coco, which looks at listed images alone"
        )


def cut(
    path: Path,
    class_names: Sequence[str],
    *,
    limit: int,
    drop: bool,
    there: Sequence[str] | None = None,
) -> tuple[Instances, int]:
    """A file's first images, with what is annotated of them, and how many could have been taken.

    Args:
        limit: at most so many images, in the order of the file; 0 for all.
        drop: leave out images that show no class of the list.
        there: images of the folder, where the file must list just those.

    Raises:
        InputError: no image is listed, others than are there, or the annotations do not fit the classes.
    """
    content = read(path)
    if not content["images"]:
        raise InputError(f"{path} lists no images")
    if there is not None:
        _check_images(content, path, there)
    labels = labels_in(content, class_names, path)
    shown = (labels == 1).any(axis=1) | (not drop)
    images = [entry for entry, good in zip(content["images"], shown, strict=True) if good]
    total, images = len(images), images[: limit or None]
    if not images:
        raise InputError(f"{path} lists no image that shows a class of the list")
    ids = {entry["id"] for entry in images}
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore")
    slim = [
        {key: entry[key] for key in keys if key in entry}
        for entry in content["annotations"]
        if entry["image_id"] in ids
    ]
    return {"images": images, "annotations": slim, "categories": content["categories"]}, total


def keep(path: Path, content: Instances | None) -> None:
    """Write annotations, null where nothing is known; indented they would take four times as long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + "\n" if content else UNKNOWN, encoding="utf-8")


def objects_of(
    path: Path, class_names: Sequence[str], files: Sequence[str]
) -> list[list[tuple[int, tuple[float | int, ...]]]]:
    """The annotated objects of some images: class and box (left, top, right, bottom in pixels)."""
    if not _told(path):
        return [[] for _ in files]
    content = read(path)
    category = {entry["id"]: folded(entry["name"]) for entry in content["categories"]}
    column = {folded(name): i for i, name in enumerate(class_names)}
    row = {name: number for number, name in enumerate(files)}
    image = {entry["id"]: row.get(entry["file_name"]) for entry in content["images"]}
    found: list[list[tuple[int, tuple[float | int, ...]]]] = [[] for _ in files]
    for entry in content["annotations"]:
        place, name = image[entry["image_id"]], category[entry["category_id"]]
        if place is not None and name in column and len(entry.get("bbox") or ()) == 4:
            x, y, width, height = entry["bbox"]
            found[place].append((column[name], (x, y, x + width, y + height)))
    return found
