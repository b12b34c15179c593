"""VOC 2007 and NUS-WIDE in their own layouts, right and wrong."""

from pathlib import Path

import pytest
from places import NAMES, list_split, picture, world

from clipworks.kit.errors import InputError
from clipworks.worlds import coco
from clipworks.worlds import voc as voc2007
from clipworks.worlds.listing import check_place


@pytest.fixture
def voc(tmp_path) -> Path:
    """VOC2007 as its devkit unpacks: three images, one dog difficult, a table, no cat."""
    top = tmp_path / "VOC2007"
    for name in ("000001", "000004", "000006"):
        picture(top / f"JPEGImages/{name}.jpg")
    sets = top / "ImageSets/Main"
    sets.mkdir(parents=True)
    (sets / "test.txt").write_text("000001\n000004\n000006\n")
    (sets / "dog_test.txt").write_text("000001  1\n000004  0\n000006 -1\n")
    (sets / "diningtable_test.txt").write_text("000001 -1\n000004  1\n000006 -1\n")
    (sets / "cat_test.txt").write_text("000001 -1\n000004 -1\n000006 -1\n")
    return top


@pytest.mark.parametrize(("difficult", "value"), [("negative", 0), ("ignored", -1)])
def test_voc_is_read_where_it_lies_and_difficult_is_what_params_say(
    voc, tmp_path, difficult, value
) -> None:
    told = voc / "ImageSets/Main/test.txt"
    chosen = world("voc2007", images=voc / "JPEGImages", told=told, difficult=difficult)
    check_place(chosen, "test")
    listed = list_split(chosen, "test", tmp_path / "out.json", NAMES)
    assert listed == {
        "folder": (voc / "JPEGImages").as_posix(), "images": ["000001.jpg", "000004.jpg", "000006.jpg"],
    }  # fmt: skip
    found = coco.labels_of(tmp_path / "out.json", NAMES, listed["images"])
    assert found.tolist() == [[1, 0, 0], [value, 1, 0], [0, 0, 0]]


def test_a_class_that_voc_has_not_is_named(voc, tmp_path) -> None:
    told = voc / "ImageSets/Main/test.txt"
    chosen = world("voc2007", images=voc / "JPEGImages", told=told)
    with pytest.raises(
        InputError, match=r"no class 'horse'; it has \['cat', 'diningtable', 'dog'\]"
    ):
        list_split(chosen, "test", tmp_path / "out.json", ["dog", "horse"])
    (told.parent / "dog_test.txt").write_text("000001 2\n")
    with pytest.raises(
        InputError, match=r"dog_test\.txt, line 1: '000001 2'; it must be IMAGE and -1"
    ):
        list_split(chosen, "test", tmp_path / "out.json", NAMES)


@pytest.fixture
def nus(tmp_path) -> Path:
    """NUS-WIDE as its archives unpack, lists written as on Windows."""
    top = tmp_path / "NUS-WIDE"
    names = ["actor/0001_1.jpg", "zebra/0002_2.jpg"]
    for name in names:
        picture(top / "Flickr" / name)
    (top / "ImageList").mkdir()
    (top / "ImageList/TestImagelist.txt").write_text("actor\\0001_1.jpg\r\nzebra\\0002_2.jpg\r\n")
    truth = top / "Groundtruth/TrainTestLabels"
    truth.mkdir(parents=True)
    (truth / "Labels_dog_Test.txt").write_text("1\n0\n")
    (truth / "Labels_cat_Test.txt").write_text("0\n0\n")
    return top


def test_nus_wide_is_read_where_it_lies(nus, tmp_path) -> None:
    chosen = world("nuswide", images=nus / "Flickr", told=nus / "ImageList/TestImagelist.txt")
    listed = list_split(chosen, "test", tmp_path / "out.json", ["dog", "cat"])
    assert listed["images"] == ["actor/0001_1.jpg", "zebra/0002_2.jpg"]
    assert coco.labels_of(tmp_path / "out.json", ["dog", "cat"], listed["images"]).tolist() == [
        [1, 0],
        [0, 0],
    ]
    dropped = chosen.model_copy(update={"without_labels": "drop"})
    assert list_split(dropped, "test", tmp_path / "o.json", ["dog", "cat"])["images"] == [
        "actor/0001_1.jpg"
    ]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda top: (top / "Groundtruth/TrainTestLabels/Labels_dog_Test.txt").unlink(), "no class 'dog'"),
        (lambda top: (top / "Groundtruth/TrainTestLabels/Labels_dog_Test.txt").write_text("1\n"),
         r"Labels_dog_Test\.txt: 1 values for 2 images of TestImagelist\.txt"),
        (lambda top: (top / "Groundtruth/TrainTestLabels/Labels_cat_Test.txt").write_text("0\nyes\n"),
         r"Labels_cat_Test\.txt, value 2: 'yes'; it must be 0 or 1"),
        (lambda top: (top / "Groundtruth").rename(top / "Truth"),
         r"world\.files\.label_folder: .*TrainTestLabels is no folder; give Groundtruth/TrainTestLabels, where"),
        (lambda top: (top / "ImageList/TestImagelist.txt").rename(top / "ImageList/mine.txt"),
         r"world\.files\.test_labels: .*TestImagelist\.txt is no file; give ImageList/TestImagelist\.txt"),
        (lambda top: (top / "ImageList/TestImagelist.txt").write_text("zebra\\1.jpg\nzebra\\1.jpg\n"),
         r"TestImagelist\.txt: 'zebra/1\.jpg' stands there twice"),
        (lambda top: (top / "ImageList/TestImagelist.txt").write_text("..\\1.jpg\nzebra\\1.jpg\n"),
         r"TestImagelist\.txt: '\.\./1\.jpg' leads out of the image folder"),
    ],
)  # fmt: skip
def test_what_nus_wide_lacks_is_named(nus, tmp_path, spoil, message) -> None:
    spoil(nus)
    chosen = world("nuswide", images=nus / "Flickr", told=nus / "ImageList/TestImagelist.txt")
    with pytest.raises(InputError, match=message):
        list_split(chosen, "test", tmp_path / "out.json", ["dog", "cat"])


def test_an_image_that_vocs_list_has_not_is_named(voc) -> None:
    listed = voc / "ImageSets/Main/test.txt"
    listed.write_text("000001\n000004\n")
    with pytest.raises(
        InputError, match=r"dog_test\.txt, line 3: '000006' is no image of .*/test\.txt"
    ):
        voc2007.read(listed, listed.parent, NAMES, difficult="negative")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000001.jpg\n", r"line 1: '000001\.jpg'; a list of VOC's has an image's name alone"),
        ("000001\n000004  1\n", r"line 2: '000004  1'; a list of VOC's has an image's name alone"),
        ("000001\n000001\n", r"line 2: '000001' stands there twice"),
    ],
)  # fmt: skip
def test_a_list_of_vocs_has_names_alone_and_each_once(voc, text, message) -> None:
    listed = voc / "ImageSets/Main/test.txt"
    listed.write_text(text)
    with pytest.raises(InputError, match=rf"/test\.txt, {message}"):
        voc2007.read(listed, listed.parent, NAMES, difficult="negative")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000004  1\n000006 -1\n", r"says nothing of 1 images of test\.txt: 000001; it must have a line for each"),
        ("000001 -1\n000004  1\n000004 -1\n000006 -1\n", r"line 3: '000004' stands there twice"),
    ],
)  # fmt: skip
def test_a_class_file_of_voc_has_each_image_once(voc, text, message) -> None:
    listed = voc / "ImageSets/Main/test.txt"
    (listed.parent / "cat_test.txt").write_text(text)
    with pytest.raises(InputError, match=rf"cat_test\.txt.*{message}"):
        voc2007.read(listed, listed.parent, NAMES, difficult="negative")


def test_a_list_that_does_not_lie_where_vocs_do_is_said_to(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("000001\n")
    with pytest.raises(
        InputError, match=r"has no CLASS_list\.txt for .*list\.txt; give VOC2007/ImageSets"
    ):
        voc2007.read(tmp_path / "list.txt", tmp_path, NAMES, difficult="negative")
