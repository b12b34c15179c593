"""Pictures as squares: cars are wide and persons tall, and a centre crop would cut both.

RGB comes first: a border that is black in RGB is white in CMYK.
"""

from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from clipworks.kit.shapes import UInt8

Mode = Literal["longest", "shortest", "squash"]
BICUBIC = Image.Resampling.BICUBIC


def pad(image: Image.Image) -> Image.Image:
    """Black borders that make a square: half of the difference left or above (floor), the rest behind.

    The authors pad by the floor on both sides, which leaves odd differences a pixel short.
    """
    side = max(image.size)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas


def fit(image: Image.Image, size: int, mode: Mode) -> UInt8[np.ndarray, "size size 3"]:
    """A picture at the tower's size, by one of open_clip's ways: "longest" pads it to a square,
    "shortest" takes its centre, as CLIP's own preprocessing does, "squash" changes its proportions."""
    if mode != "shortest":
        whole = pad(image) if mode == "longest" else image
        return np.asarray(whole.resize((size, size), BICUBIC))
    short = min(image.size)
    grown = image.resize((round(size * image.width / short), round(size * image.height / short)), BICUBIC)  # fmt: skip
    left, top = (grown.width - size) // 2, (grown.height - size) // 2
    return np.asarray(grown.crop((left, top, left + size, top + size)))


def mirrored(image: Image.Image) -> Image.Image:
    """Left and right exchanged."""
    return ImageOps.mirror(image)


def mode(square: bool) -> Mode:
    """What a model that is trained on squares asks of all who use it; see `fit`."""
    return "longest" if square else "shortest"
