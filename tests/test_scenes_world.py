"""Folders of pictures in any layout, and the miniature one; every fault with its name and place."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipworks.kit import images
from clipworks.kit.errors import InputError
from clipworks.miniature.params import Scene
from clipworks.scenes import folder, painting, sharpening, submissions
from clipworks.scenes.params import Folders, Miniature

PLACES = ["street", "farm", "bathroom"]
STYLE = Scene(
    side=64, objects=(1, 3), object_size=(0.35, 0.5), clutter=0, distractors=0, stranger=0.1,
    tilt=10.0,
)  # fmt: skip
MINIATURE = Miniature(validation=6, test=9, scene=STYLE, width=30, height=20, blur=0.8, quality=90)


def picture(path: Path, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6)).save(path)
    return path


def contest(tmp_path: Path, *, labels: list[int] | None = None) -> Path:
    for number in (10, 2, 1):
        picture(tmp_path / f"Scene/all/{number}.jpg")
    (tmp_path / "classes.json").write_text(json.dumps(["a", "b"]))
    if labels is not None:
        submissions.write(tmp_path / "labels.csv", labels)
    return tmp_path


def test_numbers_inside_names_are_compared_as_numbers() -> None:
    names = ["10.jpg", "2.jpg", "1.jpg", "b/1.jpg", "b2.jpg", "b10.jpg", "1a.jpg"]
    found = folder.natural_order(names)
    assert found == ["1.jpg", "1a.jpg", "2.jpg", "10.jpg", "b2.jpg", "b10.jpg", "b/1.jpg"]
    assert folder.natural_order(reversed(names)) == found


def test_the_contests_one_folder_tells_no_label_and_labels_csv_does(tmp_path) -> None:
    found = folder.read(contest(tmp_path))
    assert found.images == ("all/1.jpg", "all/2.jpg", "all/10.jpg") and found.labels is None
    assert folder.read(contest(tmp_path, labels=[0, 1, 1])).labels == (0, 1, 1)


def test_a_folder_per_class_gives_classes_and_labels(tmp_path) -> None:
    for name in ("sea/1.png", "forest/x.jpg", "sea/0.png"):
        picture(tmp_path / name)
    found = folder.read(tmp_path)
    assert found.classes == ("forest", "sea") and found.labels == (0, 1, 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: None, "holds no pictures"),
        (
            lambda p: picture(p / "a.jpg"),
            r"no classes\.json, and a\.jpg lies in no sub-folder; write",
        ),
        (lambda p: contest(p, labels=[0, 1]), r"labels\.csv has 2 rows where 3 are expected"),
        (lambda p: contest(p, labels=[0, 1, 2]), r"labels\.csv, line 4: label '2'; .* 0 to 1"),
        (lambda p: contest(p) and (p / "classes.json").write_text('["a"]'), "at least two"),
        (lambda p: contest(p) and (p / "classes.json").write_text('["a", "a"]'), r"\['a'\] twice"),
        (lambda p: contest(p) and (p / "classes.json").write_text("{"), r"classes\.json"),
        (
            lambda p: contest(p) and (p / "classes.json").write_text('["a", "A"]'),
            r"\['A', 'a'\] twice",
        ),
        (lambda p: contest(p) and (p / "classes.json").write_text('["a", " "]'), "one is empty"),
        (lambda p: contest(p) and picture(p / "x.jpg"), r"x\.jpg lies beside Scene/.* \(1 do\)"),
        (
            lambda p: [picture(p / f"{n}/1.jpg") for n in "ab"] and (p / "zoo").mkdir(),
            r"sub-folders without a picture: zoo; take them away, or name all classes in classes\.json",
        ),
        (
            lambda p: (
                [picture(p / f"{n}/1.jpg") for n in ("a/in", "b")]
                and (p / "c").symlink_to(p / "a/in")
            ),
            r"c leads into the folder of another class",
        ),
        (
            lambda p: [picture(p / f"{n}/1.jpg") for n in ("sea", "farm", "Farm")],
            r"sub-folders \['Farm', 'farm'\] are one name to a CLIP",
        ),
        (
            lambda p: contest(p) and picture(p / "Scene/A/1.jpg"),
            r"as classes, and A/1\.jpg lies in none of",
        ),
        (
            lambda p: contest(p) and picture(p / "Scene/a/1.jpg"),
            r"as classes, and all/1\.jpg lies in none of",
        ),
    ],
)
def test_a_faulty_folder_is_refused_by_name(tmp_path, build, message) -> None:
    build(tmp_path)
    with pytest.raises(ValueError, match=message):
        folder.read(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"gone' is no folder"):
        folder.read(tmp_path / "gone")


def test_validation_needs_the_same_classes_and_may_be_left_out(tmp_path) -> None:
    test, other = contest(tmp_path / "t"), contest(tmp_path / "v")
    (other / "classes.json").write_text('["b", "a"]')
    params = Folders(test=str(test), validation=str(other))
    with pytest.raises(ValueError, match=r"has the classes \['b', 'a'\]"):
        folder.read_split(params, "validation")
    none = Folders(test=str(test), validation="data/none")
    assert folder.read_split(none, "validation").images == ()


def test_validation_shares_no_picture_with_the_test(tmp_path) -> None:
    for name in ("sea/0.jpg", "sea/1.jpg", "farm/0.jpg"):
        picture(tmp_path / "t" / name)
    for name in ("sea", "farm"):
        (tmp_path / "v" / name).mkdir(parents=True)
        picture(tmp_path / "v" / name / "own.jpg")
    (tmp_path / "v/sea/again.jpg").symlink_to(tmp_path / "t/sea/1.jpg")
    params = Folders(test=str(tmp_path / "t"), validation=str(tmp_path / "v"))
    with pytest.raises(
        InputError, match=r"sea/again\.jpg of validation is a picture of the test too \(1 are\)"
    ):
        folder.read_split(params, "validation")
    (tmp_path / "v/sea/again.jpg").unlink()
    assert len(folder.read_split(params, "validation").images) == 2


def test_what_a_system_hides_is_no_picture_and_no_class(tmp_path) -> None:
    for name in ("sea/0.jpg", "farm/0.jpg"):
        picture(tmp_path / name)
    hidden = (
        ".thumbnails/a.jpg",
        "@eaDir/sea/0.jpg",
        "sea/._0.jpg",
        "sea/.ipynb_checkpoints/0.jpg",
        "__MACOSX/b/0.jpg",
    )
    for name in hidden:
        picture(tmp_path / name)
    found = folder.read(tmp_path)
    assert found.classes == ("farm", "sea") and found.images == ("farm/0.jpg", "sea/0.jpg")


def test_a_broken_picture_is_named_and_every_mode_becomes_rgb(tmp_path) -> None:
    for mode in ("L", "CMYK", "RGB"):
        path = picture(tmp_path / f"{mode}.jpg", mode)
        assert sharpening.prepare(images.as_stored(path), 16, [1.0, 2.0]).shape == (2, 16, 16, 3)
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    assert abs(np.asarray(images.as_stored(tmp_path / "deep.png")).mean() - 127.5) < 1
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=turned)
    assert images.as_stored(tmp_path / "turned.jpg").size == (20, 40)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(ValueError, match=r"broken\.jpg cannot be read as a picture"):
        images.as_stored(tmp_path / "broken.jpg")


def test_sharpening_by_1_changes_nothing_and_the_frame_always_stays() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert sharpening.sharpen(image, 1.0) is image
    sharp = np.asarray(sharpening.sharpen(image, 3.0))
    frame = np.ones((9, 9), bool)
    frame[1:-1, 1:-1] = False
    np.testing.assert_array_equal(sharp[frame], pixels[frame])
    assert (sharp[~frame] != pixels[~frame]).any()


def test_places_are_painted_alike_in_any_order_and_labels_do_not_follow_the_files(tmp_path) -> None:
    labels = painting.write_split(MINIATURE, PLACES, tmp_path / "a", stream="test", seed=0)
    again = painting.write_split(MINIATURE, PLACES, tmp_path / "b", stream="test", seed=0)
    other = painting.write_split(MINIATURE, PLACES, tmp_path / "c", stream="test", seed=1)
    assert labels == again != sorted(labels) and sorted(labels) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    files = [
        [p.read_bytes() for p in sorted((tmp_path / x / "Scene/all").glob("*.jpg"))] for x in "abc"
    ]
    assert files[0] == files[1] != files[2] and len(files[0]) == 9 and other != []
    assert folder.read(tmp_path / "a").classes == tuple(PLACES)
    with Image.open(tmp_path / "a/Scene/all/0.jpg") as image:
        assert image.size == (30, 20)


def test_the_texts_of_pretraining_name_what_is_shown() -> None:
    pictures, nouns = painting.pairs(STYLE, PLACES, count=40, seed=0)
    assert pictures.shape == (40, 3, 64, 64) and pictures.dtype == np.uint8
    known = {*painting.things_of(PLACES), *PLACES}
    assert all(set(some) <= known for some in nouns)
    assert 5 < sum(bool(set(some) & set(PLACES)) for some in nouns) < 35


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["street", "moon"], r"no such place: \['moon'\]; allowed are"),
        (["street"], "at least two"),
        (["street", "street"], "each once"),
    ],
)
def test_unknown_places_are_refused(places, message) -> None:
    with pytest.raises(ValueError, match=message):
        painting.check(places)
