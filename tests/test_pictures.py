"""The page that shows which windows decided."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor
from safetensors.torch import save_file

from clipworks.report import pictures
from clipworks.windows import manifest


def shown(
    size: tuple[int, int], boxes: list[list[int]], labels: list[int], logits: list[float], **more
) -> pictures.Shown:
    return pictures.Shown(
        name=more.get("name", "a.png"),
        image=Image.new("RGB", size, "white"),
        labels=np.array(labels),
        boxes=boxes,
        objects=more.get("objects", []),
        views=[
            pictures.View(
                "ensemble", np.array(logits), np.ones(len(labels), int), np.full(len(labels), 0.4)
            )
        ],
    )


def colors(path) -> set[tuple[int, ...]]:
    return set(map(tuple, np.asarray(Image.open(path)).reshape(-1, 3).tolist()))


def test_the_window_that_decided_is_drawn_on_the_image(tmp_path) -> None:
    found = shown((420, 420), [[0, 0, 420, 420], [100, 50, 200, 150]], [1], [0.5])
    pictures.page(tmp_path, [found], ["dog"])
    pixels = np.asarray(Image.open(tmp_path / "000-ensemble.png"))
    assert tuple(pixels[148, 150]) == ImageColor.getrgb(pictures.RIGHT)
    assert tuple(pixels[148, 40]) == (255, 255, 255)


def test_the_page_names_files_logits_and_what_was_right_wrong_or_missed(tmp_path) -> None:
    found = shown(
        (420, 420), [[0, 0, 420, 420], [10, 10, 90, 90]], [1, 0, 1], [0.1, 2.5, 3.5],
        objects=[(0, (200, 200, 300, 300))], name="street <1>.png",
    )  # fmt: skip
    pictures.page(tmp_path, [found], ["dog", "<b>cat</b>", "bus"])
    text = (tmp_path / "index.html").read_text()
    assert "street &lt;1&gt;.png" in text and "&lt;b&gt;cat&lt;/b&gt;" in text
    lines = pictures.lines(found, found.views[0], ["dog", "cat", "bus"])
    assert [(line.tag, line.verdict, line.logit) for line in lines] == [
        ("bus", "right", 3.5), ("cat", "wrong", 2.5), ("dog", "missed", 0.1),
    ]  # fmt: skip
    for color in (pictures.RIGHT, pictures.WRONG, pictures.MISSED):
        assert ImageColor.getrgb(color) in colors(tmp_path / "000-ensemble.png")


def test_where_nothing_is_known_tags_are_neither_right_nor_wrong(tmp_path) -> None:
    one = shown((420, 420), [[0, 0, 420, 420], [10, 10, 90, 90]], [1, 0], [0.1, 2.5])
    unknown = replace(one, labels=None)
    pictures.page(tmp_path, [unknown], ["dog", "cat"], rule="range of 500 images")
    lines = pictures.lines(unknown, unknown.views[0], ["dog", "cat"])
    assert [(line.tag, line.verdict) for line in lines] == [("cat", "")]
    text = (tmp_path / "index.html").read_text()
    assert "range of 500 images" in text and "green is right" not in text
    drawn = pictures.draw(unknown.image, lines)
    colors = {color for _, color in drawn.getcolors(100_000)}
    assert ImageColor.getrgb(pictures.UNKNOWN) in colors
    assert ImageColor.getrgb(pictures.RIGHT) not in colors


def test_each_row_whose_windows_are_known_has_its_own_picture(tmp_path) -> None:
    one = shown((420, 420), [[0, 0, 420, 420], [100, 50, 200, 150]], [1], [0.5])
    rows = {
        "ensemble": np.zeros((1, 1)),
        "maps_ensemble": np.ones((1, 1)),
        "other": np.ones((1, 1)),
    }
    windows = {"maps_ensemble": np.zeros((1, 1), int), "ensemble": np.ones((1, 1), int)}
    (views,) = pictures.views(rows, windows, dict.fromkeys(rows, np.full(1, -1.0)))
    pictures.page(tmp_path, [replace(one, views=views)], ["dog"])
    found = sorted(path.name for path in tmp_path.glob("*.png"))
    assert found == ["000-ensemble.png", "000-maps_ensemble.png"]
    a, b = (Image.open(tmp_path / name).tobytes() for name in found)
    assert a != b


@pytest.mark.parametrize("size", [(640, 200), (1000, 12), (5, 400), (1, 1)])
def test_many_votes_on_slender_images_are_drawn(tmp_path, size: tuple[int, int]) -> None:
    small = [0, 0, max(1, size[0] // 6), max(1, size[1] // 6)]
    names = [f"class {i}" for i in range(20)]
    found = shown(size, [[0, 0, *size], small], [1] * 20, [float(i) for i in range(20)])
    pictures.page(tmp_path / "page", [found], names)
    assert (tmp_path / "page/000-ensemble.png").exists()


def test_numbers_of_equal_boxes_do_not_cover_each_other() -> None:
    taken: list[tuple[float, float, float, float]] = []
    pen = pictures.ImageDraw.Draw(Image.new("RGB", (200, 50)))
    for number in range(5):
        pictures._mark(pen, str(number), (0, 0), pictures.RIGHT, taken)
    assert len(taken) == 5
    assert all(a[2] <= b[0] for a, b in pairwise(taken))


def test_an_image_that_went_is_grey_and_told(tmp_path, capsys) -> None:
    Image.new("RGB", (4, 6), "red").save(tmp_path / "a.png")
    boxes = [[0, 0, 4, 6], [0, 0, 2, 2]]
    assert pictures.read(tmp_path / "a.png", boxes).getpixel((0, 0)) == (255, 0, 0)
    grey = pictures.read(tmp_path / "b.png", boxes)
    assert grey.size == (4, 6) and grey.getpixel((0, 0)) == (136, 136, 136)
    assert "b.png: the file does not exist: grey on the page" in capsys.readouterr().err


def test_boxes_are_read_back_and_an_image_without_windows_is_named(tmp_path) -> None:
    boxes = [[0, 0, 9, 9], [0, 0, 4, 4]]
    stored = {"offsets": torch.tensor([0, 2]), "boxes": torch.tensor(boxes)}
    save_file(stored, str(tmp_path / "0.safetensors"))
    shards = [{"file": "0.safetensors", "images": ["a.png"]}]
    manifest.write(tmp_path, models=["base"], classes=["dog"], shards=shards)
    assert manifest.boxes_of(tmp_path, "a.png") == boxes
    with pytest.raises(ValueError, match=r"is of another class list: only there \['dog'\]"):
        manifest.read(tmp_path, ["cat"])
    (tmp_path / "manifest.json").write_text(json.dumps({"models": [], "classes": [], "shards": []}))
    with pytest.raises(ValueError, match=r"holds no windows of a\.png"):
        manifest.boxes_of(tmp_path, "a.png")
