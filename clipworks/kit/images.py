"""Reading images as they come: any mode, any name, upright, or a reason why not."""

import base64
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clipworks.kit.errors import InputError

# Sizes are checked against infer.max_pixels before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
# Pictures that Pillow cannot read: to be named, not passed over.
CAMERAS = (".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw")
SLENDER = 100  # a tower sees nothing in such an image, and its windows take gigabytes to resize


def is_picture(name: str) -> bool:
    """Whether a file counts as a picture: by its extension, so that a broken one, or one of a camera's own
    kind, is found and named later."""
    end = Path(name).suffix.lower()
    return Image.registered_extensions().get(end) in Image.OPEN or end in CAMERAS


class BadImage(Exception):
    """An image that cannot be used; its text is the reason, fit for a report."""


def read(
    source: Path | bytes, *, max_pixels: int | None = None, key: str = "infer.max_pixels"
) -> Image.Image:
    """Decode an image, a file or its content, to 8-bit RGB, upright.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled, an animation
    gives its first frame. The file's content counts, not its extension. Without `max_pixels` any size
    is taken: for images that were read before. `key` is what people know the limit by.

    Raises:
        BadImage: missing, empty, truncated, no image, more than `max_pixels`, or too slender.
    """
    try:
        if isinstance(source, Path) and source.exists() and not source.is_file():
            raise BadImage("no plain file (a folder, a pipe or a device)")
        if (len(source) if isinstance(source, bytes) else source.stat().st_size) == 0:
            raise BadImage("the file is empty (0 bytes)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; the pixels decide here
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                if max_pixels is not None and image.width * image.height > max_pixels:
                    raise BadImage(
                        f"{image.width} x {image.height} pixels are more than {key} "
                        f"({max_pixels:,})"
                    )
                if max(image.size) > SLENDER * min(image.size):
                    raise BadImage(
                        f"{image.width} x {image.height} pixels: one side is more than {SLENDER} "
                        "times the other"
                    )
                image.load()
                return _rgb(_upright(image), image.format)
    except FileNotFoundError:
        raise BadImage("the file does not exist") from None
    except UnidentifiedImageError:
        raise BadImage("no image format that Pillow knows") from None
    except BadImage:
        raise
    except Exception as error:  # decoders meet broken data with errors of many kinds
        raise BadImage(f"broken image data: {error}") from None


def as_stored(path: Path) -> Image.Image:
    """A picture file as RGB, as torchvision's folder reader gives it, transparency dropped; but upright,
    and grey of more than 8 bits scaled, of which that reader makes white.

    Raises:
        InputError: the file is missing, empty, broken or no picture.
    """
    try:
        with Image.open(path) as image:
            image.load()
            upright = _upright(image)
            return (
                _rgb(upright, image.format) if upright.mode[0] in "IF" else upright.convert("RGB")
            )
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as a picture ({error}); replace it, or take it out of the folder and "
            "of the labels"
        ) from None


def check_readable(paths: Iterable[Path], *, key: str) -> None:
    """Raises InputError for files that no decoder takes for a picture, by their first bytes; where pixels
    are broken, reading will tell. `key` is the one of params.yaml that names their folder."""
    bad = []
    for path in paths:
        try:
            Image.open(path).close()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            bad.append(str(path))
    if bad:
        raise InputError(
            f"{key}: {len(bad)} pictures cannot be read: {', '.join(bad[:5])}; replace them, or take them out of "
            "the folder and of the labels"
        )


def data_address(image: Image.Image, side: int) -> str:
    """A small JPEG inside an address, for pages that load nothing from elsewhere.

    Args:
        side: pixels of its longer side, at most.
    """
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata says nothing of the pixels
        return image


def _rgb(image: Image.Image, form: str | None = None) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        clear = image.info.get("transparency")  # the grey value that is none
        wide = image.convert("I")
        high: Any = wide.getextrema()[1]  # of one band
        # A TIFF of 32 bits may hold what fits in 8; all else has 16.
        scale = 1 if image.mode == "I" and form == "TIFF" and high <= 0xFF else 1 / 256
        image = wide.point(lambda value: value * scale).convert("L")
        if isinstance(clear, int):
            mask = np.asarray(wide) == clear
            image = Image.fromarray(np.where(mask, 255, np.asarray(image)).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image), nan=0, posinf=0).clip(0, 255)  # holes are no data
        # Science writes brightness from 0 to 1, or to 255.
        image = Image.fromarray(values * 255 if values.max() <= 1 else values).convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
