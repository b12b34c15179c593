"""Labels that are refused: tables of image and tags, and files in COCO's form."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from albums import png

from clipworks.kit.errors import InputError
from clipworks.settings import check, whole
from clipworks.worlds import coco, labels, listing
from clipworks.worlds.params import World

NAMES = ["dog", "dining table", "cat"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,tags\na.jpg,dgo\n", r"line 2: 'dgo' is no class of the list"),
        ("image,tags\nz.jpg,dog\n", r"line 2: there is no image 'z\.jpg' in the folder"),
        ("image,tags\na.jpg,dog\na.jpg,cat\n", r"line 3: 'a\.jpg' stands there twice"),
        (
            "image,tags\na.jpg,dog,cat\n",
            r"line 2: 3 fields where the header has 2; separate tags by semi",
        ),
        ("image,tags\n", r"says nothing of 1 images of the folder: a\.jpg; give each a line"),
        (
            "file;labels\n",
            r"has the columns \['file;labels'\]; labels need two columns, image and tags",
        ),
        ("", r"has the columns \[\]"),
        (
            "image,tags,tags\na.jpg,dog,cat\n",
            r"has the columns \['image', 'tags', 'tags'\]; labels need two",
        ),
        (
            "image,tags\na.jpg\n",
            r"line 2: fewer fields than the header's 2; .* empty tags, such as 'a\.jpg,'",
        ),
        ('image,tags\n"a.jpg,dog\n', r"line 2: no valid CSV .* is a quotation mark not closed\?"),
        ("image,tags\n" + "x" * 200_000 + ",dog", r"line 2: no valid CSV \(field larger than"),
        ('"image,tags\n', r"line 1: no valid CSV"),
    ],
)
def test_wrong_tables_of_labels_are_refused_with_the_line(tmp_path, text, message) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        labels.read(tmp_path / "l.csv", ["a.jpg"], NAMES)


def test_names_are_found_in_other_code_points_and_a_path_too_long_is_explained(tmp_path) -> None:
    (tmp_path / "l.csv").write_text("image,tags\ncafe\u0301.jpg,cat\n")
    assert labels.read(tmp_path / "l.csv", ["caf\u00e9.jpg"], NAMES).tolist() == [[0, 0, 1]]
    (tmp_path / "l.csv").write_text("image,tags\nalbum/a.jpg,cat\n")
    with pytest.raises(
        InputError, match=r"no image 'album/a\.jpg' .*; names are relative to it, such as 'a\.jpg'"
    ):
        labels.read(tmp_path / "l.csv", ["a.jpg"], NAMES)


def test_parquet_tags_that_are_no_text_are_refused_with_the_row(tmp_path) -> None:
    for tags in (3, [1, 2]):
        pq.write_table(
            pa.Table.from_pylist([{"image": "a.jpg", "tags": tags}]), tmp_path / "l.parquet"
        )
        with pytest.raises(InputError, match=r"l\.parquet, row 0: .* are no tags; labels need two"):
            labels.read(tmp_path / "l.parquet", ["a.jpg"], NAMES)


def test_coco_categories_are_the_classes_in_any_case(tmp_path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 2, "name": "Cat"}, {"id": 3, "name": "dog"}],
    }
    (tmp_path / "i.json").write_text(json.dumps(content))
    assert coco.labels_of(tmp_path / "i.json", ["DOG", "cat"], ["a.jpg"]).tolist() == [[0, 1]]
    assert coco.objects_of(tmp_path / "i.json", ["DOG", "cat"], ["a.jpg"]) == [[(1, (1, 2, 4, 6))]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 1, "file_name": "/etc/passwd"}]}, r"images\[0\] has the file_name '/etc/pas"),
        ({"images": [{"id": 1, "file_name": "a\ud800.jpg"}]}, r"give a path within the image folder"),
        ({"images": [{"id": 1, "file_name": "a" * 300}]}, r"has the file_name 'aaa.*give a path within"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "ignore": "0"}]}, r"the ignore '0'; it is 0 or 1"),
        ({"images": [{"id": 1, "file_name": "../a.jpg"}]}, r"give a path within the image folder"),
        ({"images": [{"id": i, "file_name": "a.jpg"} for i in (1, 2)]}, r"images\[1\] is 'a\.jpg', which st"),
        ({"annotations": [{"image_id": "1", "category_id": 1}]}, r"image_id '1', which none of images has; their ids are such as 1"),
        ({"annotations": [None]}, r"annotations\[0\] is None; it must have \['image_id', 'category_id'\]"),
        ({"images": [{"id": [1], "file_name": "a.jpg"}]}, r"images\[0\] has the id \[1\]; it must be a whole num"),
        ({"categories": [{"id": 1, "name": None}]}, r"categories\[0\] has the name None; it must be a text"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": 5}]}, r"the bbox 5; give four numbers"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9]}]}, r"the bbox \[0, 0, 9\]; give four"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 10**400]}]}, r"bbox .*; give four"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, -3, "x"]}]}, r"annotations\[0\] has the bbox"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 3, -1]}]}, r"annotations\[0\] .* no width is below 0"),
        ({"annotations": [{"image_id": 1, "category_id": True}]}, r"has the category_id True; it must be a whole number"),
    ],
)  # fmt: skip
def test_wrong_entries_of_coco_are_refused_by_their_number(tmp_path, change, message) -> None:
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)]
    shipped = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [],
        "categories": categories,
    }
    (tmp_path / "i.json").write_text(json.dumps({**shipped, **change}))
    with pytest.raises(InputError, match=message):
        coco.cut(tmp_path / "i.json", NAMES, limit=0, drop=False)


@pytest.mark.parametrize("name", [7, None])
def test_an_image_that_is_no_file_name_is_refused_with_the_row(tmp_path, name) -> None:
    table = pa.Table.from_pylist([{"image": name, "tags": "dog"}])
    pq.write_table(table, tmp_path / "l.parquet")
    with pytest.raises(
        InputError, match=rf"row 0: {name} is no file name; labels need two columns"
    ):
        labels.read(tmp_path / "l.parquet", ["a.jpg"], NAMES)


@pytest.mark.parametrize("ignored", [[0, 1], [1, 0]])
def test_an_object_that_is_plain_to_see_counts_whatever_is_ignored_beside_it(
    tmp_path, ignored
) -> None:
    found = [
        {"id": i, "image_id": 1, "category_id": 1, "ignore": one} for i, one in enumerate(ignored)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": found,
        "categories": [{"id": 1, "name": "dog"}],
    }
    assert coco.labels_in(content, ["dog"], tmp_path).tolist() == [[1]]
    content["annotations"] = [one for one in found if one["ignore"]]
    assert coco.labels_in(content, ["dog"], tmp_path).tolist() == [[-1]]


@pytest.fixture
def own(tmp_dir) -> World:
    """Two pictures, and labels that know a class of one of them."""
    Path("im").mkdir()
    for name in "ab":
        (Path("im") / f"{name}.png").write_bytes(png())
    Path("t.csv").write_text("image,tags\na.png,dog\nb.png,\n")
    shipped = whole.load(Path(__file__).parent.parent / "params.yaml").world
    files = {"test_images": "im", "test_labels": "t.csv"}
    return shipped.model_copy(
        update={"source": "folder", "files": shipped.files.model_copy(update=files)}
    )


def test_labels_of_other_classes_alone_are_not_said_to_be_a_lack_of_images(own) -> None:
    dropping = own.model_copy(update={"without_labels": "drop"})
    assert listing.find(dropping, "test", NAMES).images == ["a.png"]
    Path("t.csv").write_text("image,tags\na.png,\nb.png,\n")
    with pytest.raises(
        InputError, match=r"test_labels: t\.csv lists no image that shows a class of"
    ):
        listing.find(dropping, "test", NAMES)


def test_a_picture_of_both_splits_is_refused_whatever_is_known_of_it(own) -> None:
    params = whole.load(Path(__file__).parent.parent / "params.yaml")
    Path("more").symlink_to("im")
    for images in ("im", "more"):
        files = own.files.model_copy(update={"validation_images": images})
        world = own.model_copy(update={"files": files})
        with pytest.raises(
            InputError, match=r"validation and test share 2 images, such as \S+a\.png"
        ):
            check._world(params.model_copy(update={"world": world}), NAMES, [])
    check._world(params.model_copy(update={"world": own}), NAMES, [])


def test_what_dvc_could_not_watch_is_named_by_the_check(own) -> None:
    listing.find(own, "test", NAMES)
    Path("im/gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo("im/pipe.jpg")
    nothing = {"images": [], "annotations": [], "categories": []}
    Path("t.json").write_text(json.dumps(nothing))
    files = own.files.model_copy(update={"test_labels": "t.json"})
    for world in (own, own.model_copy(update={"source": "coco", "files": files})):
        with pytest.raises(
            InputError,
            match=r"world\.files\.test_images: im: gone\.jpg, pipe\.jpg: no plain files to be read .*take them away",
        ):
            listing.find(world, "test", NAMES)
