"""Pictures as the towers take them: RGB first, an exact square, then sharpened 8-bit pixels.

The order is the contest's. Its folder reader converts to RGB before anything else (transparency is
dropped), whatever its list of transforms says; a picture resized in its own mode looks otherwise.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageEnhance

from clipworks.kit.shapes import UInt8


def square(image: Image.Image, size: int) -> Image.Image:
    """Squash to size x size pixels (bicubic); proportions are lost, nothing is cut off."""
    return image.resize((size, size), Image.Resampling.BICUBIC)


def sharpen(image: Image.Image, factor: float) -> Image.Image:
    """clip(factor · x + (1 - factor) · smooth(x)) on 8-bit pixels; 1 is the picture itself.

    `smooth` is a 3x3 kernel, 5 in the centre and 1 around it, over 13; the outermost frame of
    pixels stays. Pillow's own enhancer, which torchvision's PIL path equals bit for bit.
    """
    return image if factor == 1 else ImageEnhance.Sharpness(image).enhance(factor)


def prepare(
    image: Image.Image, size: int, factors: Sequence[float]
) -> UInt8[np.ndarray, "factor size size 3"]:
    """One RGB picture at every factor, decoded and resized once."""
    small = square(image, size)
    return np.stack([np.asarray(sharpen(small, factor)) for factor in factors])
