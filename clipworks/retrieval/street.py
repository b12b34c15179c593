"""Pictures of the miniature street: wide cars with badges, tall persons with things.

Cars have one of eleven colours, six types (a glyph each) and twelve brands (a small badge). What a
traffic camera makes of them (blur, low light, an angle, noise) is drawn for each picture.
"""

import numpy as np
from PIL import Image, ImageFilter

from clipworks.miniature.glyphs import mask
from clipworks.retrieval.params import Camera
from clipworks.retrieval.vocabulary import (
    BRANDS,
    CLOTHES,
    COLOURS,
    HATS,
    PERSONS,
    THINGS,
    TYPES,
    words_of,
)

CLEAR = Camera(blur=(0.0, 0.0), light=(0.9, 1.1), shear=(0.0, 0.0), noise=(0.0, 4.0))
BICUBIC = Image.Resampling.BICUBIC


def car(colour: str, brand: str, kind: str, rng: np.random.Generator) -> Image.Image:
    """A wide picture of a car; its badge stands on a plate below the roof."""
    width, height = int(rng.integers(88, 121)), int(rng.integers(48, 65))
    canvas = _ground(width, height, rng)
    paint = _shade(COLOURS[colour], rng)
    shape = mask(TYPES[kind])
    shape = shape if rng.random() < 0.5 else shape.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    size = height * rng.uniform(0.75, 0.9)
    center = width * rng.uniform(0.34, 0.66), height * 0.52
    _stick(canvas, shape, size, center, paint)
    # The badge is apart from the body on the free side, as a sign on the bonnet would be seen large.
    side = 1 if center[0] < width / 2 else -1
    x = center[0] + side * width * rng.uniform(0.28, 0.34)
    x = float(np.clip(x, 0.1 * width, 0.9 * width))
    badge = height * rng.uniform(0.36, 0.46)
    _stick(canvas, mask(BRANDS[brand]), badge, (x, height * rng.uniform(0.35, 0.65)), (250, 246, 230))  # fmt: skip
    return canvas


def person(flags: str, rng: np.random.Generator) -> Image.Image:
    """A tall picture of a person, what they wear, and the things beside them."""
    width, height = int(rng.integers(44, 61)), int(rng.integers(96, 121))
    canvas = _ground(width, height, rng)
    words = words_of(flags)
    who = next(word for word in words if word in PERSONS)
    clothes = next(word for word in words if word in CLOTHES)
    size = height * (0.45 if who == "child" else 0.58)
    x, y = width * rng.uniform(0.42, 0.58), height * 0.46
    _stick(canvas, mask(PERSONS[who]), size, (x, y), _shade(CLOTHES[clothes], rng))
    for word in words:
        if word in HATS:
            color = _shade((90, 60, 40), rng)
            _stick(canvas, mask(HATS[word]), width * 0.34, (x, y - size * 0.5 - 3), color)
    things = [word for word in words if word in THINGS]
    for thing, place in zip(things, rng.permutation([0.22, 0.78]), strict=False):
        r, g, b = (int(v) for v in rng.uniform(20, 120, 3))
        at = (width * float(place), height * rng.uniform(0.72, 0.84))
        _stick(canvas, mask(THINGS[thing]), width * rng.uniform(0.38, 0.46), at, (r, g, b))
    return canvas


def photograph(image: Image.Image, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """What a camera makes of a view."""
    blur, light, shear, noise = (
        float(rng.uniform(*getattr(camera, name))) for name in ("blur", "light", "shear", "noise")
    )
    shear *= min(image.size) / image.height * (1 if rng.random() < 0.5 else -1)
    offset = -shear * image.height / 2
    if shear:
        image = image.transform(image.size, Image.Transform.AFFINE, (1, shear, offset, 0, 1, 0), BICUBIC, fillcolor=(70, 70, 70))  # fmt: skip
    if blur:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    pixels = np.asarray(image, np.float32) * light + rng.normal(0, noise, (*image.size[::-1], 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def on_square(image: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """A view as the web shows it: somewhere on a square, not cut off, often with plain borders."""
    canvas = _ground(side, side, rng)
    if rng.random() < 0.5:
        canvas = Image.new("RGB", (side, side), (int(rng.choice([0, 0, 128, 255])),) * 3)
    share = side * rng.uniform(0.85, 1.0) / max(image.size)
    small = image.resize([max(1, round(v * share)) for v in image.size], BICUBIC)
    spare = [side - small.width, side - small.height]
    canvas.paste(small, tuple(int(rng.integers(v + 1)) for v in spare))  # type: ignore[arg-type]
    return canvas


def _ground(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A road in the light of some hour."""
    base = rng.uniform(110, 180) + rng.normal(0, 6, 3)
    field = np.clip(base + rng.normal(0, 10, (3, 3, 3)), 60, 220).astype(np.uint8)
    return Image.fromarray(field).resize((width, height), BICUBIC)


def _shade(color: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, int, int]:
    r, g, b = np.clip(np.array(color) + rng.normal(0, 10, 3), 0, 255).astype(int).tolist()
    return r, g, b


def _stick(
    canvas: Image.Image,
    shape: Image.Image,
    size: float,
    center: tuple[float, float],
    color: tuple[int, int, int],
) -> None:
    shrink = size / max(shape.size)
    small = shape.resize([max(1, round(v * shrink)) for v in shape.size], Image.Resampling.BILINEAR, reducing_gap=2.0)  # fmt: skip
    corner = round(center[0] - small.width / 2), round(center[1] - small.height / 2)
    canvas.paste(color, corner, small)


def draw(attribute: str, kind: str, rng: np.random.Generator) -> Image.Image:
    """The view of an attribute: a person's flags, or `colour|brand|type`."""
    if kind == "person":
        return person(attribute, rng)
    colour, brand, type_of_car = attribute.split("|")
    return car(colour, brand, type_of_car, rng)
