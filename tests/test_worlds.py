"""Any folder, labels or none: one list and one form of annotations."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from places import NAMES, list_split, picture, world

from clipworks.kit import metrics
from clipworks.kit.errors import InputError
from clipworks.worlds import coco
from clipworks.worlds.listing import Found, check_place, cut_short, find, missing


def test_images_that_are_not_judged_change_no_figure_of_their_class() -> None:
    truth = np.array([[1], [0], [-1], [0]])
    logits = np.array([[0.5], [0.4], [0.9], [0.1]])
    assert metrics.average_precision(truth, logits) == [1.0]
    assert metrics.average_precision(np.where(truth < 0, 0, truth), logits) == [0.5]
    ap = metrics.average_precision(truth, logits)
    found = metrics.summarise(truth, ap, logits > 0.45)
    assert (found.CF1, found.OF1) == (100.0, 100.0)


@pytest.fixture
def album(tmp_path) -> Path:
    for name in ("a.jpg", "deep/b.png", "c.webp"):
        picture(tmp_path / "album" / name)
    (tmp_path / "album/notes.txt").write_text("")
    return tmp_path / "album"


def test_a_folder_needs_no_labels(album, tmp_path) -> None:
    chosen = world("folder", images=album, told=None)
    check_place(chosen, "test")
    check_place(chosen, "validation")  # none at all
    listed = list_split(chosen, "test", tmp_path / "out.json", NAMES)
    assert listed["images"] == ["a.jpg", "c.webp", "deep/b.png"]
    assert coco.labels_of(tmp_path / "out.json", NAMES, listed["images"]) is None
    assert coco.objects_of(tmp_path / "out.json", NAMES, ["a.jpg"]) == [[]]
    for other in ("phone.HEIC", "notes.txt", "paper.pdf"):
        (album / other).write_bytes(b"x")
    listed = list_split(chosen, "test", tmp_path / "out.json", NAMES)
    assert "phone.HEIC" in listed["images"] and len(listed["images"]) == 4  # named as bad later
    none = list_split(chosen, "validation", tmp_path / "none.json", NAMES)
    assert none == {"folder": "", "images": []}


def test_a_folders_labels_are_a_table_or_coco(album, tmp_path) -> None:
    tables = {
        "l.csv": "image,tags\na.jpg,dog; Dining Table\ndeep/b.png,\nc.webp,\n",
        "l.json": json.dumps({
            "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "deep/b.png"},
                       {"id": 3, "file_name": "c.webp"}],
            "annotations": [{"image_id": 1, "category_id": i} for i in (1, 2)],
            "categories": [{"id": i, "name": n} for i, n in enumerate(NAMES, 1)],
        }),
    }  # fmt: skip
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
    rows = [{"image": "a.jpg", "tags": ["dog", "dining table"]}, {"image": "c.webp", "tags": None}]
    rows.append({"image": "deep/b.png", "tags": []})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "l.parquet")
    for name in (*tables, "l.parquet"):
        chosen = world("folder", images=album, told=tmp_path / name)
        listed = list_split(chosen, "test", tmp_path / "out.json", NAMES)
        found = coco.labels_of(tmp_path / "out.json", NAMES, ["a.jpg", "c.webp", "deep/b.png"])
        assert len(listed["images"]) == 3
        assert found.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]], name


@pytest.mark.parametrize("source", ["coco", "voc2007", "nuswide", "folder"])
def test_what_is_missing_is_named_with_what_to_put_there(source, tmp_path) -> None:
    name = "none.csv" if source == "folder" else "none.txt"
    chosen = world(source, images=tmp_path / "nowhere", told=tmp_path / name)
    with pytest.raises(InputError) as error:
        check_place(chosen, "test")
    assert "world.files.test_images: " in str(error.value) and "nowhere is no folder; give" in str(
        error.value
    )
    assert "world.files.test_labels: " in str(error.value) and f"{name} is no file" in str(
        error.value
    )


def test_a_folders_labels_are_no_text_and_leave_no_image_out(album, tmp_path) -> None:
    with pytest.raises(
        InputError,
        match=r"test_labels: .*l\.txt is none of what is read; give a \.csv or \.parquet table",
    ):
        check_place(world("folder", images=album, told=tmp_path / "l.txt"), "test")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)],
    }
    (tmp_path / "l.json").write_text(json.dumps(content))
    chosen = world("folder", images=album, told=tmp_path / "l.json")
    with pytest.raises(
        InputError, match=r"says nothing of 2 images of the folder: c\.webp, deep/b\.png"
    ):
        list_split(chosen, "test", tmp_path / "out.json", NAMES)
    content["images"].append({"id": 2, "file_name": "z.jpg"})
    (tmp_path / "l.json").write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"there is no image 'z\.jpg' in the folder \(1 are missing\)"
    ):
        list_split(chosen, "test", tmp_path / "out.json", NAMES)
    content["images"].pop()
    (tmp_path / "l.json").write_text(json.dumps(content))
    chosen = world("coco", images=album, told=tmp_path / "l.json")
    assert list_split(chosen, "test", tmp_path / "out.json", NAMES)["images"] == ["a.jpg"]


def test_images_that_show_nothing_are_kept_or_dropped(tmp_path) -> None:
    (tmp_path / "val").mkdir()
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(1, 5)],
        "annotations": [{"image_id": 2, "category_id": 1, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (tmp_path / "x.json").write_text(json.dumps(content))
    for how, expected in (("keep", 4), ("drop", 1)):
        chosen = world(
            "coco", images=tmp_path / "val", told=tmp_path / "x.json", without_labels=how
        )
        assert len(list_split(chosen, "test", tmp_path / "out.json", ["dog"])["images"]) == expected


def test_annotations_of_cocos_size_are_read_in_seconds(tmp_path) -> None:
    """train2017: 118,000 images, 860,000 boxes; a tenth of it here, whose time is far below a minute's tenth."""
    rng = np.random.default_rng(0)
    count, boxes = 11_800, 86_000
    where, what = rng.integers(1, count + 1, boxes).tolist(), rng.integers(1, 81, boxes).tolist()
    content = {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480} for i in range(1, count + 1)],
        "annotations": [
            {"id": i, "image_id": a, "category_id": b, "bbox": [1.5, 2.5, 30.0, 40.0], "area": 9, "iscrowd": 0}
            for i, (a, b) in enumerate(zip(where, what, strict=True))
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, 81)],
    }  # fmt: skip
    (tmp_path / "val").mkdir()
    (tmp_path / "x.json").write_text(json.dumps(content))
    names = [f"class {i}" for i in range(1, 81)]
    chosen = world("coco", images=tmp_path / "val", told=tmp_path / "x.json")
    start = time.perf_counter()
    listed = list_split(chosen, "test", tmp_path / "out.json", names)
    found = coco.labels_of(tmp_path / "out.json", names, listed["images"])
    assert time.perf_counter() - start < 20
    expected = np.zeros((count, 80), np.int8)
    expected[np.array(where) - 1, np.array(what) - 1] = 1
    np.testing.assert_array_equal(found, expected)


def test_a_file_name_that_is_no_text_is_refused(tmp_path) -> None:
    (tmp_path / "album").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / os.fsdecode(b"album/b\xff.png"))
    chosen = world("folder", images=tmp_path / "album", told=None)
    with pytest.raises(InputError, match=r"album: b\\xff\.png: names that are no UTF-8; rename"):
        list_split(chosen, "test", tmp_path / "out.json", NAMES)


def test_listed_images_that_are_not_there_are_told(tmp_path) -> None:
    picture(tmp_path / "a.jpg")
    found = Found(tmp_path, ["a.jpg", "b.jpg"], None)
    assert missing(found).startswith(
        f"1 of 2 listed images are not in {tmp_path}: b.jpg; they will"
    )
    assert missing(Found(tmp_path, ["a.jpg"], None)) == ""
    with pytest.raises(InputError, match=r"has none of the 1 listed images, such as b\.jpg"):
        missing(Found(tmp_path, ["b.jpg"], None))


def test_a_cap_is_told_and_takes_no_check_away(tmp_path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(tmp_path / "album" / name)
    coco.write(tmp_path / "x.json", NAMES, [(name, 8, []) for name in ("a.jpg", "b.jpg", "c.jpg")])
    chosen = world("folder", images=tmp_path / "album", told=tmp_path / "x.json", test=2)
    found = find(chosen, "test", NAMES)
    assert cut_short(found, "test") == "world.test: the first 2 of 3 images are taken; 0 takes all"
    assert cut_short(find(chosen.model_copy(update={"test": 3}), "test", NAMES), "test") == ""
    coco.write(tmp_path / "x.json", NAMES, [(name, 8, []) for name in ("a.jpg", "b.jpg")])
    with pytest.raises(InputError, match=r"says nothing of 1 images of the folder: c\.jpg"):
        find(chosen, "test", NAMES)
    bare = world("folder", images=tmp_path / "album", told=None, test=2)
    assert "first 2 of 3" in cut_short(find(bare, "test", NAMES), "test")
