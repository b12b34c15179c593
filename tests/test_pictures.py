"""The page that shows which windows decided."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from clipworks.report import pictures
from clipworks.windows import manifest


def shown(size: tuple[int, int], boxes: list[list[int]], votes: int) -> pictures.Shown:
    return pictures.Shown(
        name="a.png",
        image=Image.new("RGB", size, "white"),
        labels=np.ones(votes, int),
        logits=np.arange(votes, dtype=float),
        windows=np.ones(votes, int),
        boxes=boxes,
    )


def test_the_window_that_decided_is_drawn_on_the_image(tmp_path) -> None:
    page = tmp_path / "page"
    found = shown((300, 300), [[0, 0, 300, 300], [100, 50, 200, 150]], 1)
    pictures.page(page, [found], ["dog"])
    pixels = np.asarray(Image.open(page / "000.png"))
    assert tuple(pixels[149, 150]) == pictures.RIGHT and tuple(pixels[149, 40]) == (255, 255, 255)
    assert "000.png" in (page / "index.html").read_text()


@pytest.mark.parametrize("size", [(640, 200), (1000, 12), (5, 400), (1, 1)])
def test_many_votes_on_slender_images_are_drawn(tmp_path, size: tuple[int, int]) -> None:
    small = [0, 0, max(1, size[0] // 6), max(1, size[1] // 6)]
    names = [f"class {i}" for i in range(20)]
    pictures.page(tmp_path / "page", [shown(size, [[0, 0, *size], small], 20)], names)
    assert (tmp_path / "page/000.png").exists()


def test_boxes_are_read_back_and_an_image_without_windows_is_named(tmp_path) -> None:
    boxes = [[0, 0, 9, 9], [0, 0, 4, 4]]
    stored = {"offsets": torch.tensor([0, 2]), "boxes": torch.tensor(boxes)}
    save_file(stored, str(tmp_path / "0.safetensors"))
    shards = [{"file": "0.safetensors", "images": ["a.png"]}]
    manifest.write(tmp_path, models=["base"], classes=["dog"], shards=shards)
    assert manifest.boxes_of(tmp_path, "a.png") == boxes
    (tmp_path / "manifest.json").write_text(json.dumps({"shards": []}))
    with pytest.raises(ValueError, match=r"holds no windows of a\.png"):
        manifest.boxes_of(tmp_path, "a.png")
