"""Annotations in COCO's instances format: the miniature world writes what COCO ships."""

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipworks.kit.errors import InputError
from clipworks.kit.files import read_json
from clipworks.kit.tables import write_json
from clipworks.miniature.glyphs import Placed


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


def labels_in(
    content: dict[str, list[dict[str, Any]]], class_names: Sequence[str], path: Path
) -> np.ndarray:
    """Labels of all images of what `read` read, int8 of shape (image, class).

    Raises:
        InputError: a class of the list is no category, or an annotation names what there is not.
    """
    categories = {entry["id"]: entry["name"] for entry in content["categories"]}
    if missing := sorted(set(class_names) - set(categories.values())):
        raise InputError(
            f"{path}: no category {missing}; its categories are {sorted(categories.values())}"
        )
    column = {name: i for i, name in enumerate(class_names)}
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
            shown = -1 if entry.get("ignore") else 1
            labels[rows[entry["image_id"]], column[name]] = shown
    return labels


def of_labels(
    images: Sequence[str], labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
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


def list_split(
    path: Path, out: Path, class_names: Sequence[str], *, limit: int, drop: bool
) -> list[str]:
    """List a split's images and write its annotations, cut down to them, to `out`.

    Args:
        limit: at most so many images, in the order of the annotations; 0 for all.
        drop: leave out images that show no class of the list.

    Raises:
        InputError: no image is listed, or the annotations do not fit the classes.
    """
    content = read(path)
    if not content["images"]:
        raise InputError(f"{path} lists no images")
    labels = labels_in(content, class_names, path)
    shown = (labels == 1).any(axis=1) | (not drop)
    images = [entry for entry, good in zip(content["images"], shown, strict=True) if good]
    images = images[: limit or None]
    if not images:
        raise InputError(f"{path} lists no image that shows a class of the list")
    ids = {entry["id"] for entry in images}
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore")
    slim = [
        {key: entry[key] for key in keys if key in entry}
        for entry in content["annotations"]
        if entry["image_id"] in ids
    ]
    kept = {"images": images, "annotations": slim, "categories": content["categories"]}
    out.write_text(
        json.dumps(kept) + "\n", encoding="utf-8"
    )  # indented it would take four times as long
    return [entry["file_name"] for entry in images]


def objects_of(
    path: Path, class_names: Sequence[str], files: Sequence[str]
) -> list[list[tuple[int, tuple[float | int, ...]]]]:
    """The annotated objects of some images: class and box (left, top, right, bottom in pixels)."""
    if not _told(path):
        return [[] for _ in files]
    content = read(path)
    category = {entry["id"]: entry["name"] for entry in content["categories"]}
    row = {name: number for number, name in enumerate(files)}
    image = {entry["id"]: row.get(entry["file_name"]) for entry in content["images"]}
    found: list[list[tuple[int, tuple[float | int, ...]]]] = [[] for _ in files]
    for entry in content["annotations"]:
        place, name = image[entry["image_id"]], category[entry["category_id"]]
        if place is not None and name in class_names and len(entry.get("bbox") or ()) == 4:
            x, y, width, height = entry["bbox"]
            found[place].append((class_names.index(name), (x, y, x + width, y + height)))
    return found


UNKNOWN = "null\n"  # annotations of images of which nothing is known
_ID = (int, str)  # COCO has numbers; what is converted to its form often has texts
PARTS: dict[str, dict[str, Any]] = {
    "images": {"id": _ID, "file_name": str},
    "annotations": {"image_id": _ID, "category_id": _ID},
    "categories": {"id": _ID, "name": str},
}


def read(path: Path, *, key: str = "") -> dict[str, list[dict[str, Any]]]:
    """An annotation file in COCO's instances format, with every entry that is needed there.

    Raises:
        InputError: the file is missing, no JSON, or of another form, with the part and the entry.
    """
    content = read_json(path, key=key)
    form = "it must be in COCO's instances format: {images: [...], annotations: [...], categories: [...]}"
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; {form}")
    for part, needed in PARTS.items():
        if not isinstance(content.get(part), list):
            raise InputError(f"{path}: no list {part!r}; {form}")
        for number, entry in enumerate(content[part]):
            if wrong := _wrong(entry, needed):
                raise InputError(f"{path}: {part}[{number}] {wrong}")
    for part in ("images", "categories"):
        seen: set[Any] = set()
        for number, entry in enumerate(content[part]):
            if entry["id"] in seen:
                raise InputError(
                    f"{path}: {part}[{number}] has the id {entry['id']}, which one before it has"
                )
            seen.add(entry["id"])
    names = [entry["file_name"] for entry in content["images"]]
    for number, name in enumerate(names):
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(
                f"{path}: images[{number}] has the file_name {name!r}; give a path within the image folder"
            )
    if len(set(names)) < len(names):
        number, name = next((i, n) for i, n in enumerate(names) if n in names[:i])
        raise InputError(f"{path}: images[{number}] is {name!r}, which stands there twice")
    for number, entry in enumerate(content["annotations"]):
        box = entry.get("bbox") or [0, 0, 0, 0]  # none is fine: labels need no boxes
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise InputError(
                f"{path}: annotations[{number}] has the bbox {reprlib.repr(box)}; give four numbers"
            )
    return content


def _wrong(entry: Any, needed: dict[str, Any]) -> str:
    """What is wrong with an entry; empty for nothing."""
    if not isinstance(entry, dict):
        return f"is {reprlib.repr(entry)}; it must have {list(needed)}"
    for name, kind in needed.items():
        if name not in entry:
            return f"lacks {name!r}; it must have {list(needed)}"
        if not isinstance(entry[name], kind):
            allowed = "a text" if kind is str else "a whole number or a text"
            return f"has the {name} {reprlib.repr(entry[name])}; it must be {allowed}"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e9  # which nan is not
