"""Painting the miniature street in the organisers' layout, and the web that its CLIP comes from.

A picture depends on (seed, stream, index) alone, so it is the same in any order and any process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from clipworks.kit.processes import spread
from clipworks.retrieval import dataset, street, vocabulary
from clipworks.retrieval.params import Camera, Miniature, Split

STREAMS = {"web": 20, "train": 21, "val": 22, "test": 23}
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


@dataclass(frozen=True)
class View:
    """A picture to paint: what it shows, and what its label says of that."""

    image: str
    kind: str
    shown: str  # a person's flags, or colour|brand|type
    attribute: str
    caption: str


def views(params: Miniature, split: dataset.Split, seed: int) -> list[View]:
    """All pictures of a split, in the order of its label file."""
    size: Split = getattr(params, split)
    rng = np.random.default_rng([seed, STREAMS[split]])
    cars = _pool([_car(rng) for _ in range(size.car_attributes)], size.cars, rng)
    persons = _pool(
        [vocabulary.person(rng) for _ in range(size.person_attributes)], size.persons, rng
    )
    found = []
    for number, shown in enumerate(cars):
        whole = split == "test"
        attribute = _said(shown, params, rng) if not whole else shown.replace("|", " ")
        name = f"vehicle_{number:07d}.jpg" if whole else f"{''.join(rng.choice(LETTERS, 10))}.jpg"
        found.append(View(name, "car", shown, attribute, vocabulary.caption(attribute, rng)))
    for number, shown in enumerate(persons):
        name = f"{number:06d}.jpg"
        found.append(View(name, "person", shown, shown, vocabulary.sentence(shown, rng)))
    return found


def _car(rng: np.random.Generator) -> str:
    names = (vocabulary.COLOURS, vocabulary.BRANDS, vocabulary.TYPES)
    return "|".join(list(some)[rng.integers(len(some))] for some in names)


def _pool(attributes: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Each attribute at least once where there is room, some far more often than others, as on a street."""
    distinct = list(dict.fromkeys(attributes))
    share = 1.0 / np.arange(1, len(distinct) + 1) ** 0.7
    more = rng.choice(len(distinct), max(0, count - len(distinct)), p=share / share.sum())
    rows = np.concatenate([np.arange(len(distinct)), more])[:count]
    rng.shuffle(rows)
    return [distinct[row] for row in rows]


def _said(shown: str, params: Miniature, rng: np.random.Generator) -> str:
    """What a label says of a car: colour and brand as a rule, or one of them, or the type alone."""
    colour, brand, kind = shown.split("|")
    if rng.random() < params.type_only:
        return kind
    if brand in vocabulary.ALONE and rng.random() < params.brand_only:
        return brand
    return f"{colour} {brand}"


def write_split(params: Miniature, root: Path, split: dataset.Split, seed: int) -> list[View]:
    """Paint a split's pictures; training and validation get their label files too."""
    listed = views(params, split, seed)
    folder = dataset.images(root, split)
    folder.mkdir(parents=True, exist_ok=True)
    camera = params.street if split == "test" else params.web
    work = partial(_write_one, folder, camera, split, seed)
    spread(work, range(len(listed)), listed, what=f"paint {split}")
    if split != "test":
        text = [
            f"{v.image}${v.attribute}{'.' if v.kind == 'car' else ''}${v.caption}" for v in listed
        ]
        dataset.labels(root, split).write_text(dataset.join(text), encoding="utf-8")
    return listed


def _write_one(
    folder: Path, camera: Camera, split: dataset.Split, seed: int, index: int, view: View
) -> None:
    rng = np.random.default_rng([seed, STREAMS[split], index])
    painted = street.photograph(street.draw(view.shown, view.kind, rng), camera, rng)
    painted.save(folder / view.image, quality=92)


def write_queries(root: Path, truth: Path, listed: Sequence[View], seed: int) -> int:
    """One query for each attribute of the gallery, cars first; what they mean goes elsewhere."""
    rng = np.random.default_rng([seed, STREAMS["test"], 1])
    asked = {view.attribute: view for view in listed}
    texts = [
        vocabulary.caption(name, rng) if v.kind == "car" else vocabulary.sentence(name, rng)
        for name, v in asked.items()
    ]
    (root / "test" / dataset.QUERIES).write_text(dataset.join(texts), encoding="utf-8")
    truth.mkdir(parents=True, exist_ok=True)
    (truth / dataset.QUERY_TRUTH).write_text(dataset.join(list(asked)), encoding="utf-8")
    lines = [f"{view.image}${view.attribute}" for view in listed]
    (truth / dataset.GALLERY_TRUTH).write_text(dataset.join(lines), encoding="utf-8")
    return len(texts)


def pairs(
    camera: Camera, *, side: int, share: float, count: int, seed: int, workers: int
) -> tuple[np.ndarray, list[list[str]], list[str]]:
    """The web that the CLIP is pretrained on: pictures, the nouns of each, and a text.

    Args:
        share: of pictures that a traffic camera took; half of their texts say so.

    Returns:
        uint8 pictures of shape (picture, 3, side, side), nouns, texts.
    """
    work = partial(_pair, camera, side, share, seed)
    rows = spread(work, range(count), what="paint web", workers=workers)
    pictures = np.stack([row[0] for row in rows]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pictures), [row[1] for row in rows], [row[2] for row in rows]


def _pair(
    camera: Camera, side: int, share: float, seed: int, index: int
) -> tuple[np.ndarray, list[str], str]:
    rng = np.random.default_rng([seed, STREAMS["web"], index])
    kind = "car" if rng.random() < 0.5 else "person"
    shown = _car(rng) if kind == "car" else vocabulary.person(rng)
    watched = rng.random() < share
    image = street.draw(shown, kind, rng)
    image = street.photograph(image, camera if watched else street.CLEAR, rng)
    nouns = shown.split("|") if kind == "car" else vocabulary.words_of(shown)
    text = _alt_text(shown, kind, rng)
    if watched and rng.random() < 0.5:
        text += f" {vocabulary.SUFFIX}"
    return np.asarray(street.on_square(image, side, rng)), nouns, text


def _alt_text(shown: str, kind: str, rng: np.random.Generator) -> str:
    """What the web says of a picture: seldom everything."""
    opening = ("", "", "a photo of ", "this is ", "picture: ")[rng.integers(5)]
    if kind == "person":
        return opening + vocabulary.sentence(shown, rng).rstrip(".")
    colour, brand, kind_of_car = shown.split("|")
    words = [
        word
        for word, chance in ((colour, 0.8), (brand, 0.7), (kind_of_car, 0.8))
        if rng.random() < chance
    ] or [kind_of_car]
    first = " ".join(words)
    return (
        f"{opening}{vocabulary.article(first)} {first}" if rng.random() < 0.5 else opening + first
    )


def nouns() -> list[str]:
    """All that the texts name: what the trunk of the CLIP learns to see."""
    return [*vocabulary.COLOURS, *vocabulary.BRANDS, *vocabulary.TYPES,
            *(word for word in vocabulary.FLAGS if word not in vocabulary.COLOURS)]  # fmt: skip
