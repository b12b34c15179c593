"""Images that lie elsewhere: listed where they are, never copied."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipworks.kit.errors import InputError
from clipworks.kit.tables import write_json
from clipworks.worlds import coco


def list_coco(
    folder: Path, annotations: Path, out: Path, class_names: Sequence[str], *, limit: int
) -> dict[str, Any]:
    """List the images of a split and write its annotations, cut down to them, to `out`.

    Args:
        limit: at most so many images, in the order of the annotations; 0 for all.

    Raises:
        InputError: a path is missing, no image is listed, or the annotations do not fit the classes:
            now, and not when metrics are computed, hours later.
    """
    if not folder.is_dir():
        raise InputError(f"world.coco: {folder} is no folder; give the split's image folder")
    if not annotations.is_file():
        raise InputError(f"world.coco: {annotations} does not exist; give an instances_*.json file")
    content = coco.read(annotations)
    images = content["images"][: limit or None]
    if not images:
        raise InputError(f"world.coco: {annotations} lists no images")
    coco.labels_in(content, class_names, annotations)
    ids = {entry["id"] for entry in images}
    kept = [entry for entry in content["annotations"] if entry["image_id"] in ids]
    slim = [
        {
            key: entry[key]
            for key in ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
            if key in entry
        }
        for entry in kept
    ]
    write_json(out, {"images": images, "annotations": slim, "categories": content["categories"]})
    return {
        "folder": folder.resolve().as_posix(),
        "images": [entry["file_name"] for entry in images],
    }
