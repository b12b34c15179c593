"""What the miniature street knows: colours, types and brands of cars, and how persons look."""

from collections.abc import Sequence

import numpy as np

# Some look alike, most of all in low light.
COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (28, 28, 32),
    "blue": (44, 76, 196),
    "brown": (112, 72, 40),
    "green": (40, 140, 60),
    "grey": (128, 128, 132),
    "orange": (236, 132, 28),
    "pink": (240, 148, 176),
    "purple": (124, 52, 160),
    "red": (204, 36, 40),
    "white": (244, 244, 244),
    "yellow": (236, 208, 48),
}
TYPES = {"Bus": 0xF207, "Microbus": 0xF5B6, "Minivan": 0xF63C, "SUV": 0xF5E4, "Sedan": 0xF1B9, "Truck": 0xF0D1}  # fmt: skip
# A brand is a badge. Hongyan stands alone in the organisers' labels, and so it does here.
BRANDS = {
    "Ancora": 0xF13D, "Corona": 0xF521, "Drago": 0xF6D5, "Estrella": 0xF005, "Golden Fish": 0xF578,
    "Greenleaf": 0xF06C, "Hongyan": 0xF6FC, "Iron Horse": 0xF7AB, "Luno": 0xF186, "Nevada": 0xF2DC,
    "Pluma": 0xF52D, "Voltara": 0xF0E7,
}  # fmt: skip
ALONE = ("Golden Fish", "Hongyan", "Iron Horse")  # brands whose label may lack a colour

PERSONS = {"man": 0xF183, "woman": 0xF182, "child": 0xF1AE}
CLOTHES = {"red": (204, 36, 40), "blue": (44, 76, 196), "green": (40, 140, 60), "dark": (40, 40, 46)}  # fmt: skip
HATS = {"hat": 0xF8C0, "helmet": 0xF807}
THINGS = {
    "umbrella": 0xF0E9, "handbag": 0xF290, "suitcase": 0xF0F2, "dog": 0xF6D3, "cat": 0xF6BE,
    "bicycle": 0xF206, "ball": 0xF1E3, "book": 0xF02D, "phone": 0xF3CE, "bottle": 0xF72F,
    "guitar": 0xF7A6, "laptop": 0xF109,
}  # fmt: skip
FLAGS = (*PERSONS, *CLOTHES, *HATS, *THINGS)  # 21, as the organisers have
PREFIXES = (("This is a ", "This is an "), ("A ", "An "))
SUFFIX = "image taken by traffic surveillance cameras"


def flags_of(words: Sequence[str]) -> str:
    """A person's attribute: 21 flags."""
    return ",".join(str(int(word in words)) for word in FLAGS)


def words_of(flags: str) -> list[str]:
    """What a person's attribute says."""
    return [word for word, flag in zip(FLAGS, flags.split(","), strict=True) if flag == "1"]


def person(rng: np.random.Generator) -> str:
    """A person's attribute, drawn."""
    words = [list(PERSONS)[rng.integers(3)], list(CLOTHES)[rng.integers(4)]]
    if rng.random() < 0.4:
        words.append(list(HATS)[rng.integers(2)])
    count = int(rng.integers(1, 3))
    words += [list(THINGS)[i] for i in rng.choice(len(THINGS), count, replace=False)]
    return flags_of(words)


def sentence(flags: str, rng: np.random.Generator) -> str:
    """One of the many sentences that say what a person's flags say."""
    words = words_of(flags)
    who = next(word for word in words if word in PERSONS)
    clothes = next(word for word in words if word in CLOTHES)
    hat = [word for word in words if word in HATS]
    things = [f"{article(word)} {word}" for word in words if word in THINGS]
    told = " and ".join(things[i] for i in rng.permutation(len(things)))
    verb = ("walks with", "carries", "is seen with", "stands beside")[rng.integers(4)]
    first = (
        f"A {who} in {clothes} clothes {verb} {told}.",
        f"A {who} who wears {clothes} clothes {verb} {told}.",
        f"This {who} {verb} {told}, dressed in {clothes}.",
    )[rng.integers(3)]
    if hat:
        first += f" There is {article(hat[0])} {hat[0]} on the head."
    return first


def caption(phrase: str, rng: np.random.Generator) -> str:
    """A car's caption: a prefix, the phrase and a dot."""
    plain, vowel = PREFIXES[rng.integers(2)]
    return f"{vowel if phrase[0].lower() in 'aeio' else plain}{phrase}."


def article(word: str) -> str:
    """`a` or `an`."""
    return "an" if word[0] in "aeiou" else "a"
