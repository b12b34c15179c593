"""Wrong data sets in COCO's form."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_world import World, wrong


def coco(classes: list[str]) -> dict[str, list[dict[str, Any]]]:
    """One image with one object."""
    return {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, 1)],
    }


FORM = r"it must be in COCO's instances format"


@wrong("annotations in a list", rf"x\.json: holds a list; {FORM}", change=lambda c: [c])
@wrong("no annotations", rf"x\.json: no list 'annotations'; {FORM}",
       change=lambda c: c.pop("annotations") and c)  # fmt: skip
@wrong("no images", r"x\.json lists no images", change=lambda c: {**c, "images": []})
@wrong("an image without an id", r"x\.json: images\[0\] lacks 'id'; it must have \['id', 'file_name'\]",
       change=lambda c: {**c, "images": [{"file_name": "a.png"}]})  # fmt: skip
@wrong("two images with one id", r"x\.json: images\[1\] has the id 1, which one before it has",
       change=lambda c: {**c, "images": c["images"] * 2})  # fmt: skip
@wrong("an annotation without a category", r"x\.json: annotations\[0\] lacks 'category_id'",
       change=lambda c: {**c, "annotations": [{"image_id": 1}]})  # fmt: skip
@wrong("an annotation of an unknown category", r"annotation 7 has the category_id 99, which none of "
       r"categories has; their ids are such as 1",
       change=lambda c: {**c, "annotations": [{**c["annotations"][0], "category_id": 99}]})  # fmt: skip
@wrong("an annotation of an unknown image", r"x\.json: annotation 7 has the image_id 99, which none of images has",
       change=lambda c: {**c, "annotations": [{**c["annotations"][0], "image_id": 99}]})  # fmt: skip
@wrong("a class that is no category", r"x\.json: no category \['airplane'\]; its categories are",
       change=lambda c: {**c, "categories": [
           {**e, "name": e["name"].replace("airplane", "aeroplane")} for e in c["categories"]]})  # fmt: skip
@wrong("annotations that are no JSON", r"x\.json, line 1, column \d+: no valid JSON",
       change=lambda c: json.dumps(c)[:-9])  # fmt: skip
@wrong(
    "annotations in UTF-16",
    r"(?m)^(\s*|.*: )x\.json is not UTF-8 \(byte 0xff at 0\); save it as UTF-8$",
    change=lambda c: json.dumps(c).encode("utf-16"),
)
@wrong(
    "no annotation file",
    r"test_labels: x\.json is no file; give its instances_\*\.json",
    change=None,
)
def _(world: World, change: Callable[[Any], Any] | None) -> None:
    names = Path("data/classes/miniature.txt").read_text().split("\n")
    world.put("images/a.png", b"")
    content = coco([name for name in names if name and name[0] != "#"])
    if change is not None:
        world.put("x.json", change(content))
    world.put("good.json", coco([name for name in names if name and name[0] != "#"]))
    places = {"validation_images": "images", "validation_labels": "good.json"}
    places |= {"test_images": "images", "test_labels": "x.json"}
    world.set({"world.source": "coco"} | {f"world.files.{key}": v for key, v in places.items()})
    world.stage("world")


@wrong("more images not there than may be bad", r"infer\.max_bad_share: 33\.33% of the listed images are not "
       r"there, and 1\.00% may be bad; get them, or allow more(?s:.*)warning: 1 of 2 listed")  # fmt: skip
def _(world: World) -> None:
    names = Path("data/classes/miniature.txt").read_text().split("\n")
    content = coco([name for name in names if name and name[0] != "#"])
    world.put("validation.json", content)
    world.put(
        "test.json", {**content, "images": [*content["images"], {"id": 2, "file_name": "b.png"}]}
    )
    world.set({"world.source": "coco"})
    for split in ("validation", "test"):
        world.put(f"{split}/a.png", b"")
        places = {"images": world.folder / split, "labels": world.folder / f"{split}.json"}
        world.set({f"world.files.{split}_{key}": str(place) for key, place in places.items()})
    world.check()


EVALUATED = ("data/world", "data/infer", "data/ensemble", "metrics")


@wrong(
    "images without labels", r"the test annotations show none of the classes, so no metric can be"
)
def _(world: World) -> None:
    world.take(*EVALUATED)
    path = Path("data/world/annotations/test.json")
    before = Path("metrics/leaderboard.json").read_bytes()
    world.put(path.as_posix(), {**json.loads(path.read_text()), "annotations": []})
    try:
        world.stage("evaluate")
    finally:
        assert Path("metrics/leaderboard.json").read_bytes() == before


@wrong(
    "an image that the annotations have not", r"annotations/test\.json: lists no image 'test_000000"
)
def _(world: World) -> None:
    world.take(*EVALUATED)
    path = Path("data/world/annotations/test.json")
    world.put(path.as_posix(), path.read_text().replace("test_000000", "test_00000x"))
    world.stage("evaluate")
