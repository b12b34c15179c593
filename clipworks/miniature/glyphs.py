"""Font Awesome glyphs as the objects of the miniature world.

The webfont comes with the package `fontawesomefree`. A class has one or more glyphs, as a word has
several looks; the distractors belong to no class and lie about as clutter.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clipworks.kit.errors import InputError

# Large enough that every placement only shrinks the mask.
MASK_SIZE = 160

# Class -> code points of its glyphs. A half ("l", "r") takes one side of a glyph that shows a pair.
CLASS_GLYPHS: dict[str, tuple[tuple[int, str], ...]] = {
    "person": ((0xF183, ""), (0xF182, ""), (0xF1AE, ""), (0xF554, "")),
    "bicycle": ((0xF206, ""),),
    "car": ((0xF1B9, ""), (0xF5E4, "")),
    "motorcycle": ((0xF21C, ""),),
    "airplane": ((0xF072, ""), (0xE22D, "")),
    "bus": ((0xF207, ""), (0xF55E, "")),
    "train": ((0xF238, ""), (0xF239, "")),
    "truck": ((0xF0D1, ""), (0xF4DF, "")),
    "boat": ((0xE445, ""), (0xF21A, "")),
    "traffic light": ((0xF637, ""),),
    "bird": ((0xF520, ""), (0xF4BA, ""), (0xF535, "")),
    "cat": ((0xF6BE, ""),),
    "dog": ((0xF6D3, ""),),
    "horse": ((0xF6F0, ""),),
    "cow": ((0xF6C8, ""),),
    "umbrella": ((0xF0E9, ""),),
    "handbag": ((0xF290, ""),),
    "suitcase": ((0xF0F2, ""), (0xF5C1, "")),
    "sports ball": ((0xF1E3, ""), (0xF434, ""), (0xF45F, "")),
    "baseball bat": ((0xF432, ""),),
    "tennis racket": ((0xF45D, ""),),
    "bottle": ((0xF72F, ""), (0xE4C5, "")),
    "wine glass": ((0xF4E3, ""), (0xF5CE, "")),
    "cup": ((0xF0F4, ""), (0xF7B6, "")),
    "fork": ((0xF2E7, "l"),),
    "knife": ((0xF2E7, "r"),),
    "spoon": ((0xF2E5, ""),),
    "bowl": ((0xE4C6, ""), (0xE2EB, "")),
    "apple": ((0xF5D1, ""),),
    "carrot": ((0xF787, ""),),
    "hot dog": ((0xF80F, ""),),
    "pizza": ((0xF818, ""),),
    "cake": ((0xF1FD, ""),),
    "chair": ((0xF6C0, ""),),
    "couch": ((0xF4B8, ""),),
    "potted plant": ((0xF4D8, ""), (0xE5AA, "")),
    "bed": ((0xF236, ""),),
    "toilet": ((0xF7D8, ""),),
    "tv": ((0xF26C, ""), (0xE163, "")),
    "laptop": ((0xF109, ""),),
    "mouse": ((0xF8CC, ""),),
    "keyboard": ((0xF11C, ""),),
    "cell phone": ((0xF3CE, ""), (0xF3CF, "")),
    "sink": ((0xE06D, ""), (0xE005, "")),
    "book": ((0xF02D, ""), (0xF518, "")),
    "clock": ((0xF017, ""),),
    "scissors": ((0xF0C4, ""),),
}

# anchor, bell, key, gift, tree, house, fish, frog, spider, hammer, wrench, guitar, drum, ghost,
# lemon, pepper, shirt, cube, bolt, bug, chess rook, paperclip, magnet, gavel, trophy, snowman
DISTRACTORS = (
    *(0xF13D, 0xF0F3, 0xF084, 0xF06B, 0xF1BB, 0xF015, 0xF578, 0xF52E, 0xF717, 0xF6E3, 0xF0AD),
    *(0xF7A6, 0xF569, 0xF6E2, 0xF094, 0xF816, 0xF553, 0xF1B2, 0xF0E7, 0xF188, 0xF447, 0xF0C6),
    *(0xF076, 0xF0E3, 0xF091, 0xF7D0),
)


@dataclass(frozen=True)
class Placed:
    """A glyph drawn on a canvas: its class (None for a distractor), box and area in pixels."""

    name: str | None
    box: tuple[int, int, int, int]  # x, y, width, height
    area: int


@cache
def _font() -> ImageFont.FreeTypeFont:
    spec = find_spec("fontawesomefree")
    if spec is None or spec.origin is None:
        raise ImportError("the miniature world draws with the package fontawesomefree; install it")
    webfonts = Path(spec.origin).parent / "static/fontawesomefree/webfonts"
    return ImageFont.truetype(str(webfonts / "fa-solid-900.ttf"), MASK_SIZE)


@cache
def mask(code_point: int, half: str = "") -> Image.Image:
    """The glyph as an 8-bit coverage mask, cut to its own bounding box.

    Raises:
        InputError: the installed webfont has no such glyph.
    """
    canvas = Image.new("L", (2 * MASK_SIZE, 2 * MASK_SIZE))
    ImageDraw.Draw(canvas).text((MASK_SIZE // 4, MASK_SIZE // 4), chr(code_point), 255, _font())
    box = canvas.getbbox()
    missing = _font().getmask(chr(0x10FFFE))
    if box is None or bytes(_font().getmask(chr(code_point))) == bytes(missing):
        raise InputError(f"the webfont of fontawesomefree has no glyph {code_point:#x}")
    left, top, right, bottom = box
    if half:
        middle = (left + right) // 2
        cut = (left, top, middle, bottom) if half == "l" else (middle, top, right, bottom)
        canvas = canvas.crop(cut)
        inner = canvas.getbbox()
        assert inner is not None
        return canvas.crop(inner)
    return canvas.crop(box)


def place(
    canvas: Image.Image,
    name: str | None,
    *,
    rng: np.random.Generator,
    size: float,
    center: tuple[float, float],
    color: tuple[int, int, int],
    tilt: float,
) -> Placed:
    """Draw one glyph of a class (or a distractor) on an RGB canvas.

    Args:
        size: the longer side of the glyph in pixels, before rotation.
        center: where its middle goes, in pixels.
        tilt: standard deviation of the rotation, in degrees.
    """
    glyphs = CLASS_GLYPHS[name] if name else tuple((code, "") for code in DISTRACTORS)
    shape = mask(*glyphs[rng.integers(len(glyphs))])
    if rng.random() < 0.5:
        shape = shape.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    shrink = size / max(shape.size)
    width, height = (max(1, round(side * shrink)) for side in shape.size)
    shape = shape.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    shape = shape.rotate(rng.normal(0, tilt), Image.Resampling.BILINEAR, expand=True)
    x, y = round(center[0] - shape.width / 2), round(center[1] - shape.height / 2)
    canvas.paste(color, (x, y), shape)
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + shape.width, canvas.width), min(y + shape.height, canvas.height)
    return Placed(
        name, (x0, y0, max(0, x1 - x0), max(0, y1 - y0)), int(np.asarray(shape).sum()) // 255
    )
