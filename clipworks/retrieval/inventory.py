"""Colours, brands and types of cars: read off labels by letter case, and found again in phrases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipworks.kit import files
from clipworks.kit.errors import InputError

# One word without a colour is a type, but for this brand of lorries, which stands alone in the labels.
LONE_BRANDS = ("Hongyan",)
SLOTS = ("Colors", "Types", "Brands")  # the organisers' spelling


@dataclass(frozen=True)
class Car:
    """What a phrase says; None for what it does not say."""

    colour: str | None
    brand: str | None
    type: str | None


@dataclass(frozen=True)
class Inventory:
    """All names that occur, sorted."""

    colours: tuple[str, ...]
    types: tuple[str, ...]
    brands: tuple[str, ...]

    def plain(self) -> dict[str, list[str]]:
        """As the organisers' JSON has it."""
        return dict(
            zip(SLOTS, (list(v) for v in (self.colours, self.types, self.brands)), strict=True)
        )

    @classmethod
    def load(cls, path: Path, *, key: str = "") -> "Inventory":
        """Read the organisers' JSON.

        Args:
            key: the params.yaml key that names the file, for messages.

        Raises:
            InputError: another form.
        """
        found: Any = files.read_json(path, key=key)
        if not isinstance(found, dict) or not all(
            isinstance(found.get(s), list) and all(isinstance(n, str) for n in found[s])
            for s in SLOTS
        ):
            where = f"{key}: {path}" if key else str(path)
            raise InputError(f"{where}: must hold lists of names under {', '.join(SLOTS)}")
        if blank := [slot for slot in SLOTS if not all(name.strip() for name in found[slot])]:
            raise InputError(
                f"{key or 'inventory'}: {path}: a name under {blank[0]} is empty; every query would hold it"
            )
        tidy = [{" ".join(name.split()) for name in found[slot]} for slot in SLOTS]
        colours, types, brands = (tuple(sorted(names)) for names in tidy)
        return cls(colours, types, brands)


def by_case(phrase: str) -> Car:
    """The rule of the labels: up to two leading lower-case words are the colour, what follows is the
    brand; without a colour several words are a brand and one word is a type."""
    words = phrase.split()
    count = 0
    while count < min(2, len(words)) and words[count].islower():
        count += 1
    colour, rest = " ".join(words[:count]) or None, words[count:]
    if colour is not None:
        return Car(colour, " ".join(rest) or None, None)
    if len(rest) > 1 or phrase in LONE_BRANDS:
        return Car(None, phrase, None)
    return Car(None, None, phrase or None)


def of(phrases: Iterable[str]) -> Inventory:
    """The names that some attributes hold."""
    cars = [by_case(phrase) for phrase in phrases]
    slots = ({getattr(car, slot) for car in cars} - {None} for slot in ("colour", "type", "brand"))
    colours, types, brands = (tuple(sorted(names)) for names in slots)
    return Inventory(colours, types, brands)


def check_fill(known: Inventory, fill: Iterable[str]) -> None:
    """Raises InputError where there is nothing to fill in: no label names a type alone, say."""
    for slot in fill:
        if not getattr(known, f"{slot}s"):
            raise InputError(
                f"complete.fill: there is no {slot} to fill in, since the labels name none by itself, or the JSON of "
                f"parse.inventory none at all; take {slot!r} out of it, or name all of them in that JSON"
            )


def find(phrase: str, known: Inventory) -> Car:
    """Colour, brand and type of a phrase, in that order and all of it.

    A brand goes before a type: `Balong Heavy Truck` is a brand, though it ends in a type.

    Raises:
        InputError: words that are none of these.
    """
    rest = phrase
    colour = _leading(rest, known.colours)
    rest = rest.removeprefix(colour or "").strip()
    brand = _leading(rest, known.brands)
    rest = rest.removeprefix(brand or "").strip()
    kind = _leading(rest, known.types)
    rest = rest.removeprefix(kind or "").strip()
    if rest or not phrase:
        raise InputError(
            f"{phrase!r}: {rest or 'nothing'!r} is no colour, brand or type that the inventory has, in "
            "this order; set parse.inventory to a JSON that has it, or parse.skip_bad"
        )
    return Car(colour, brand, kind)


def _leading(phrase: str, names: Sequence[str]) -> str | None:
    """The longest name that a phrase begins with, as whole words."""
    fits = [name for name in names if phrase == name or phrase.startswith(f"{name} ")]
    return max(fits, key=len, default=None)
