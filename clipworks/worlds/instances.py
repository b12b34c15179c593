"""COCO's instances format: what a file must hold, and what is said of one that does not."""

import reprlib
from collections import Counter
from pathlib import Path
from typing import Any

from clipworks.kit.errors import InputError
from clipworks.kit.files import can_be, read_json

Instances = dict[str, list[dict[str, Any]]]  # images, annotations, categories
_ID = (int, str)  # COCO has numbers; what is converted to its form often has texts
_PARTS: dict[str, dict[str, Any]] = {
    "images": {"id": _ID, "file_name": str},
    "annotations": {"image_id": _ID, "category_id": _ID},
    "categories": {"id": _ID, "name": str},
}


def read(path: Path) -> Instances:
    """An annotation file in COCO's instances format, with every entry that is needed there.

    Raises:
        InputError: the file is missing, no JSON, or of another form, with the part and the entry.
    """
    content = read_json(path)
    form = "it must be in COCO's instances format: {images: [...], annotations: [...], categories: [...]}"
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; {form}")
    for part, needed in _PARTS.items():
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
        if not name or not can_be(name) or Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(
                f"{path}: images[{number}] has the file_name {reprlib.repr(name)}; give a path within the image folder"
            )
    if twice := {name for name, many in Counter(names).items() if many > 1}:
        number, name = next(
            (i, n) for i, n in enumerate(names) if n in twice and names.index(n) < i
        )
        raise InputError(f"{path}: images[{number}] is {name!r}, which stands there twice")
    for number, entry in enumerate(content["annotations"]):
        if (entry.get("ignore") or 0) not in (0, 1):
            raise InputError(
                f"{path}: annotations[{number}] has the ignore {reprlib.repr(entry['ignore'])}; it is 0 or 1"
            )
        box = entry.get("bbox") or [0, 0, 0, 0]  # none is fine: labels need no boxes
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise InputError(
                f"{path}: annotations[{number}] has the bbox {reprlib.repr(box)}; give four numbers"
            )
        if box[2] < 0 or box[3] < 0:
            raise InputError(
                f"{path}: annotations[{number}] has the bbox {box}; it is left, top, width and height, and no "
                "width is below 0"
            )
    return content


def _wrong(entry: Any, needed: dict[str, Any]) -> str:
    """What is wrong with an entry; empty for nothing."""
    if not isinstance(entry, dict):
        return f"is {reprlib.repr(entry)}; it must have {list(needed)}"
    for name, kind in needed.items():
        if name not in entry:
            return f"lacks {name!r}; it must have {list(needed)}"
        if not isinstance(entry[name], kind) or isinstance(entry[name], bool):
            allowed = "a text" if kind is str else "a whole number or a text"
            return f"has the {name} {reprlib.repr(entry[name])}; it must be {allowed}"
    return ""


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
    )  # which nan is not
