"""The miniature world: pictures depend on their number alone, labels on what was drawn."""

import json

import numpy as np
import pytest

from clipworks.fusion.rows import rows
from clipworks.kit import metrics
from clipworks.kit.classes import read_classes
from clipworks.kit.params import MODELS
from clipworks.miniature.glyphs import CLASS_GLYPHS, Placed, mask
from clipworks.miniature.params import Scene
from clipworks.miniature.places import SCENES
from clipworks.miniature.scene import check_glyphs, paint
from clipworks.report.leaderboard import markdown, put, table
from clipworks.worlds import coco

STYLE = Scene(
    side=96,
    objects=(1, 5),
    object_size=(0.1, 0.5),
    clutter=5,
    distractors=2,
    stranger=0.2,
    tilt=20.0,
)


@pytest.fixture(scope="module")
def names():
    from pathlib import Path

    return read_classes(Path(__file__).parent.parent / "data/classes/miniature.txt")


def test_a_picture_depends_on_its_number_alone(names) -> None:
    alone, _ = paint(STYLE, names, seed=0, stream="test", index=7)
    for index in range(6):
        paint(STYLE, names, seed=0, stream="test", index=index)
    again, _ = paint(STYLE, names, seed=0, stream="test", index=7)
    np.testing.assert_array_equal(np.asarray(alone), np.asarray(again))


def test_splits_and_seeds_share_no_picture(names) -> None:
    kinds = [(0, "test"), (0, "validation"), (0, "pretrain"), (1, "test")]
    pictures = {
        np.asarray(paint(STYLE, names, seed=s, stream=t, index=0)[0]).tobytes() for s, t in kinds
    }
    assert len(pictures) == len(kinds)


def test_every_class_has_glyphs_and_a_scene(names) -> None:
    assert (
        set(names) == set(CLASS_GLYPHS) == {name for members in SCENES.values() for name in members}
    )
    for glyphs in CLASS_GLYPHS.values():
        for code, half in glyphs:
            assert np.asarray(mask(code, half)).max() == 255
    with pytest.raises(ValueError, match="no glyph"):
        mask(0x10FFFE)


def test_scenes_hold_as_many_objects_as_asked_and_boxes_stay_inside(names) -> None:
    counts = set()
    for index in range(60):
        _, placed = paint(STYLE, names, seed=0, stream="test", index=index)
        counts.add(len(placed))
        for item in placed:
            x, y, w, h = item.box
            assert 0 <= x and 0 <= y and x + w <= 96 and y + h <= 96 and item.area > 0
    assert counts == {1, 2, 3, 4, 5}


def test_classes_that_cannot_be_drawn_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"no glyph for \['unicorn'\]; choose classes of data/classes/miniature"
    ):
        check_glyphs(["dog", "unicorn"], drawn=["world"])


def test_annotations_come_back_as_labels(tmp_path) -> None:
    scenes = [
        ("a.png", 96, [Placed("dog", (1, 2, 3, 4), 9), Placed("dog", (0, 0, 1, 1), 1)]),
        ("b.png", 96, []),
    ]
    coco.write(tmp_path / "x.json", ["cat", "dog"], scenes)
    files, labels = coco.read_labels(tmp_path / "x.json", ["dog", "cat"])
    assert files == ["a.png", "b.png"] and labels.tolist() == [[1, 0], [0, 0]]
    with pytest.raises(ValueError, match=r"no category \['unicorn'\]"):
        coco.read_labels(tmp_path / "x.json", ["unicorn"])


def test_a_stray_annotation_is_named(tmp_path) -> None:
    coco.write(tmp_path / "x.json", ["dog"], [("a.png", 9, [Placed("dog", (0, 0, 1, 1), 1)])])
    content = json.loads((tmp_path / "x.json").read_text())
    content["annotations"][0]["category_id"] = 99
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"annotation 1 has the category_id 99, which none of categories has"
    ):
        coco.read_labels(tmp_path / "x.json", ["dog"])


def test_a_coco_split_is_listed_where_it_lies(tmp_path) -> None:
    coco.write(
        tmp_path / "x.json",
        ["dog"],
        [("a.jpg", 9, []), ("b.jpg", 9, [Placed("dog", (0, 0, 1, 1), 1)])],
    )
    cut, total = coco.cut(tmp_path / "x.json", ["dog"], limit=1, drop=False)
    assert total == 2
    assert [entry["file_name"] for entry in cut["images"]] == ["a.jpg"]
    assert cut["annotations"] == []


def test_metrics_by_hand() -> None:
    labels = np.array([[1, 0], [0, 1], [1, 0]])
    values = np.array([[0.9, 0.1], [0.8, 0.7], [0.7, 0.2]])
    ap = metrics.average_precision(labels, values)
    np.testing.assert_allclose(ap, [(1 + 2 / 3) / 2, 1.0])
    decided = metrics.decide(values, top_k=1)
    np.testing.assert_array_equal(decided, [[True, False], [True, False], [True, False]])
    summary = metrics.summarise(labels, ap, decided)
    assert summary.mAP == round(100 * (5 / 6 + 1) / 2, 2)
    assert summary.OF1 == round(100 * 2 * (2 / 3) * (2 / 3) / (4 / 3), 2)
    assert metrics.decide(values, threshold=0.75).sum() == 2


def test_a_class_that_no_image_shows_is_left_out_of_the_mean() -> None:
    ap = metrics.average_precision(np.array([[1, 0], [0, 0]]), np.array([[1.0, 0.5], [0.0, 0.6]]))
    assert ap[0] == 1 and np.isnan(ap[1])


def test_the_readmes_table_is_put_between_its_marks(tmp_path) -> None:
    figures = {"mAP": 1.0, "CF1": 1.0, "OF1": 1.0, "validation_mAP": 1.0}
    board = {"average_transductive": {**figures, "mAP": 2.0}, "zero_shot": figures}
    text = markdown(table(board, {row.name: row.what for row in rows(MODELS)}))
    lines = text.splitlines()
    assert lines[2].startswith("| `zero_shot`") and "(transductive)" in lines[3]
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- leaderboard -->\nold\n<!-- /leaderboard -->\nb")
    found = put(page, text)
    assert "old" not in found and found.endswith("b")
    page.write_text("nothing")
    with pytest.raises(ValueError, match=r"page\.md: no <!-- leaderboard -->"):
        put(page, text)
