"""Windows cut out of a decoded image, resized, and made ready for the tower."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from clipworks.kit.shapes import UInt8
from clipworks.windows.boxes import Box

AT_ONCE = 2**26  # bytes of resized windows: slender ones are long before their centre is cut


def pixels(image: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """The image as uint8, stored channels-last, as the fast CPU resize wants it."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def cut(
    image: UInt8[Tensor, "3 height width"], boxes: list[Box], *, size: int, resize_mode: str
) -> UInt8[Tensor, "window 3 size size"]:
    """Cut windows out and resize each as a whole image would be (antialiased bicubic).

    "shortest" brings the short side to `size` and cuts the centre; "squash" ignores proportions;
    "longest" brings the long side to `size` and pads with black. On photographs the result stays
    within 1 of 255 of Pillow's; on a GPU it is computed in float32 and rounded, within 2. (White
    noise differs more: Pillow clips between its two passes.)
    """
    shapes: dict[tuple[int, int], list[int]] = {}
    for i, box in enumerate(boxes):
        shapes.setdefault((box.right - box.left, box.bottom - box.top), []).append(i)
    out = image.new_zeros((len(boxes), size, size, 3)).permute(0, 3, 1, 2)
    for (width, height), rows in shapes.items():
        w, h = _resized(width, height, size, resize_mode)
        at_once = max(1, AT_ONCE // (3 * w * h))
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            crops = torch.stack([_crop(image, boxes[i]) for i in part])
            out[part] = _centred(resize(crops, h, w), size)
    return out


def _crop(image: Tensor, box: Box) -> Tensor:
    return image[:, box.top : box.bottom, box.left : box.right]


def _resized(width: int, height: int, size: int, mode: str) -> tuple[int, int]:
    """Width and height to which a window is brought, before the centre is cut or padded."""
    if mode == "squash":
        return size, size
    sides = (width, height)
    ratio = size / (min(sides) if mode == "shortest" else max(sides))
    w, h = (size if side * ratio == size else max(1, round(side * ratio)) for side in sides)
    return w, h


def _centred(crops: Tensor, size: int) -> Tensor:
    """Cut the centre out of what is larger than `size`, pad what is smaller with black."""
    h, w = crops.shape[-2:]
    if h < size or w < size:
        left, top = (size - w) // 2, (size - h) // 2
        return F.pad(crops, (left, size - w - left, top, size - h - top))
    left, top = round((w - size) / 2.0), round((h - size) / 2.0)
    return crops[:, :, top : top + size, left : left + size]


def resize(
    images: UInt8[Tensor, "*image 3 height width"], height: int, width: int
) -> UInt8[Tensor, "*image 3 new_height new_width"]:
    """Antialiased bicubic, in Pillow's own arithmetic on a CPU."""
    if images.shape[-2:] == (height, width):
        return images
    if images.ndim == 3:
        return resize(images[None], height, width)[0]
    if images.device.type != "cpu":
        return _resize_floats(images, height, width)
    # a uint8 kernel with Pillow's own fixed-point arithmetic
    return F.interpolate(images, (height, width), mode="bicubic", antialias=True)


def _resize_floats(images: Tensor, height: int, width: int) -> Tensor:
    shrunk = max(images.shape[-2] / height, images.shape[-1] / width)
    if shrunk > 40:  # a GPU's kernel keeps its weights in a shared memory that ends there
        return resize(images.cpu(), height, width).to(images.device)
    floats = F.interpolate(images.float(), (height, width), mode="bicubic", antialias=True)
    return floats.round_().clamp_(0, 255).to(torch.uint8)
