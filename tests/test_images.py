"""Images as they come: every odd kind is read, or refused with its reason."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipworks.kit import images
from clipworks.windows import crops
from clipworks.windows.boxes import boxes

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


@pytest.mark.parametrize("high", [255, 65_535])
def test_grey_of_thirty_two_bits_is_read_by_how_much_of_them_it_uses(tmp_path: Path, high) -> None:
    ramp = np.linspace(0, high, 40 * 30).reshape(30, 40).astype(np.int32)
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    found = np.asarray(images.read(tmp_path / "a.tif"))[..., 0]
    np.testing.assert_allclose(found, ramp * (255 / high), atol=1.5)
    (tmp_path / "dark.pgm").write_bytes(
        b"P5 2 1 65535\n\x00\xff\x00\x10"
    )  # of 16 bits, whatever is used
    assert np.asarray(images.read(tmp_path / "dark.pgm")).max() == 0


@pytest.mark.parametrize("hole", [(0, 0), (5, 5)])
def test_holes_of_a_float_picture_change_nothing_around_them(tmp_path: Path, hole) -> None:
    values = np.linspace(0, 1, 40 * 30, dtype=np.float32).reshape(30, 40)
    values[hole] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = np.asarray(images.read(tmp_path / "a.tif"))[..., 0]
    assert found[hole] == 0 and found[-1, -1] == 255 and 100 < found[15, 20] < 155


def test_a_transparent_grey_of_sixteen_bits_is_that_grey_alone(tmp_path: Path) -> None:
    values = np.array([[300, 11_264], [65_535, 0]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=300)
    found = np.asarray(images.read(tmp_path / "a.png"))[..., 0]
    assert found.tolist() == [[255, 44], [255, 0]]


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
    pixels = crops.pixels(images.read(tmp_path / "a.png", max_pixels=MANY))
    cut = crops.cut(pixels, boxes(1, 1, [2]), size=16, resize_mode="shortest")
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


def test_a_very_long_image_is_refused_before_its_windows_fill_the_memory(tmp_path: Path) -> None:
    gradient(1010, 10).save(tmp_path / "a.png")
    with pytest.raises(
        images.BadImage, match="1010 x 10 pixels: one side is more than 100 times the other"
    ):
        images.read(tmp_path / "a.png", max_pixels=MANY)


def test_damaged_metadata_does_not_lose_the_picture(tmp_path: Path, monkeypatch) -> None:
    gradient().save(tmp_path / "a.png")

    def damaged(image: Image.Image) -> Image.Image:
        raise struct.error("required argument is not an integer")

    monkeypatch.setattr(images.ImageOps, "exif_transpose", damaged)
    assert images.read(tmp_path / "a.png", max_pixels=MANY).size == (40, 30)


def test_any_error_of_a_decoder_is_a_reason(tmp_path: Path, monkeypatch) -> None:
    gradient().save(tmp_path / "a.png")

    def failing(image: Image.Image) -> None:
        raise struct.error("unpack requires more")

    monkeypatch.setattr(Image.Image, "load", failing)
    with pytest.raises(images.BadImage, match="broken image data: unpack requires more"):
        images.read(tmp_path / "a.png", max_pixels=MANY)
