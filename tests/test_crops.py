"""Windows cut and resized as Pillow would."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from test_images import gradient

from clipworks.windows import crops
from clipworks.windows.boxes import Box, boxes


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("size", [(90, 61), (33, 70), (500, 375)])
def test_windows_equal_pillows_own_resize_within_one_level(
    mode: str, size: tuple[int, int]
) -> None:
    image = photograph(*size)
    found = boxes(*size, [2])
    cut = crops.cut(crops.pixels(image), found, size=32, resize_mode=mode)
    for box, got in zip(found[::5], cut[::5], strict=True):
        expected = obvious(image.crop(box), 32, mode)
        difference = np.abs(expected.astype(int) - got.permute(1, 2, 0).numpy().astype(int))
        assert difference.max() <= 1


def photograph(width: int, height: int) -> Image.Image:
    """Noise as smooth as photographs are: white noise would be clipped between the two passes."""
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1))


def obvious(crop: Image.Image, size: int, mode: str) -> np.ndarray:
    """Resize with Pillow as open_clip's preprocessing does."""
    bicubic = Image.Resampling.BICUBIC
    if mode == "squash":
        return np.asarray(crop.resize((size, size), bicubic))
    ratio = size / (min(crop.size) if mode == "shortest" else max(crop.size))
    small = crop.resize(tuple(max(1, round(side * ratio)) for side in crop.size), bicubic)
    canvas = Image.new("RGB", (size, size))
    if mode == "shortest":
        left, top = round((small.width - size) / 2.0), round((small.height - size) / 2.0)
        return np.asarray(small.crop((left, top, left + size, top + size)))
    canvas.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return np.asarray(canvas)


def test_the_float_path_of_other_devices_stays_within_one_level() -> None:
    pixels = crops.pixels(gradient(70, 50))[None]
    edge = torch.zeros_like(pixels)  # beside which bicubic curves leave what 8 bits hold
    edge[..., 35:] = 255
    for images in (pixels, edge):
        on_cpu = crops.resize(images, 32, 45).int()
        assert (on_cpu - crops._resize_floats(images, 32, 45).int()).abs().max() <= 1
    # Where a GPU's kernel ends, the CPU's does it.
    large = crops.pixels(gradient(900, 700))[None]
    assert torch.equal(crops._resize_floats(large, 16, 20), crops.resize(large, 16, 20))
    floats = crops._resize_floats(edge, 32, 45)
    assert floats.min() == 0 and floats.max() == 255


def test_a_window_keeps_the_whole_image_when_the_box_is_the_image() -> None:
    image = gradient(32, 32)
    cut = crops.cut(crops.pixels(image), [Box(0, 0, 32, 32)], size=32, resize_mode="shortest")
    np.testing.assert_array_equal(cut[0].permute(1, 2, 0).numpy(), np.asarray(image))


@pytest.mark.parametrize("mode", ["longest", "shortest", "squash"])
def test_the_most_slender_window_keeps_a_pixel(mode: str) -> None:
    # A side of 3 of 600 is 0.16 pixels of 32 where the longest side counts.
    pixels = crops.pixels(gradient(3, 600))
    found = crops.cut(pixels, [Box(0, 0, 3, 600)], size=32, resize_mode=mode)
    assert found.shape == (1, 3, 32, 32) and found.any()


def test_windows_resized_a_few_at_a_time_are_the_same(monkeypatch) -> None:
    image = crops.pixels(photograph(90, 61))
    found = boxes(90, 61, [2])
    together = crops.cut(image, found, size=32, resize_mode="shortest")
    monkeypatch.setattr(crops, "AT_ONCE", 1)
    assert torch.equal(crops.cut(image, found, size=32, resize_mode="shortest"), together)
