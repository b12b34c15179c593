"""Images as they come: every odd kind is read, or refused with its reason."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from clipworks import images
from clipworks.windows import Box, boxes

MANY = 10**8


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "RGBA", "LA", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    gradient().convert(mode).save(tmp_path / f"a.{suffix}")
    found = images.read(tmp_path / f"a.{suffix}", max_pixels=MANY)
    assert found.mode == "RGB" and found.size == (40, 30)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    pixels = np.asarray(images.read(tmp_path / "a.png", max_pixels=MANY))
    np.testing.assert_allclose(pixels[..., 0], ramp / 256, atol=1.01)


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert images.read(tmp_path / "a.gif", max_pixels=MANY).getpixel((1, 1)) == (255, 0, 0)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert images.read(tmp_path / "a.png", max_pixels=MANY).getpixel((0, 0)) == (255, 255, 255)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turn a quarter clockwise to show upright
    gradient().save(tmp_path / "a.jpg", exif=exif)
    assert images.read(tmp_path / "a.jpg", max_pixels=MANY).size == (30, 40)


def test_content_counts_not_the_extension_and_names_may_be_anything(tmp_path: Path) -> None:
    gradient().save(tmp_path / "été 图 1.txt", format="PNG")
    assert images.read(tmp_path / "été 图 1.txt", max_pixels=MANY).size == (40, 30)


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "red").save(tmp_path / "a.png")
    pixels = images.pixels(images.read(tmp_path / "a.png", max_pixels=MANY))
    cut = images.cut(pixels, boxes(1, 1, [2]), size=16, resize_mode="shortest")
    assert cut.shape == (1, 3, 16, 16) and int(cut[0, 0].min()) == 255


def truncated(path: Path) -> None:
    gradient(200, 200).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:600])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (truncated, "broken image data"),
        (lambda path: path.write_text("no image"), "no image format"),
        (lambda path: None, "does not exist"),
        (
            lambda path: Image.new("1", (20000, 20000)).save(path, format="PNG"),
            "20000 x 20000 pixels",
        ),
    ],
)
def test_bad_images_are_refused_with_their_reason(tmp_path: Path, make, reason: str) -> None:
    make(tmp_path / "a.jpg")
    with pytest.raises(images.BadImage, match=reason):
        images.read(tmp_path / "a.jpg", max_pixels=MANY)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("size", [(90, 61), (33, 70), (500, 375)])
def test_windows_equal_pillows_own_resize_within_one_level(
    mode: str, size: tuple[int, int]
) -> None:
    image = photograph(*size)
    found = boxes(*size, [2])
    cut = images.cut(images.pixels(image), found, size=32, resize_mode=mode)
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
    crops = images.pixels(gradient(70, 50))[None]
    on_cpu = images._bicubic(crops, 32, 45).int()
    as_float = torch.nn.functional.interpolate(
        crops.float(), (32, 45), mode="bicubic", antialias=True
    )
    assert (on_cpu - as_float.round().clamp(0, 255).int()).abs().max() <= 1


def test_a_window_keeps_the_whole_image_when_the_box_is_the_image() -> None:
    image = gradient(32, 32)
    cut = images.cut(images.pixels(image), [Box(0, 0, 32, 32)], size=32, resize_mode="shortest")
    np.testing.assert_array_equal(cut[0].permute(1, 2, 0).numpy(), np.asarray(image))
