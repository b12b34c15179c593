"""Lines of the organisers' label files: `image$attribute$caption`.

A car's attribute is a short phrase (`white Falco.`), a person's is 21 flags of 0 and 1. Spellings
that occur are read alike: with or without a final dot, with or without an article before the phrase.
"""

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clipworks.kit.errors import InputError

Kind = Literal["car", "person"]
FLAGS = 21
FIELDS = ("image", "attribute", "caption", "completed")
ARTICLES = ("A ", "An ", "a ", "an ")


@dataclass(frozen=True)
class Record:
    """A picture with what is known of it."""

    kind: Kind
    image: str
    attribute: str  # two pictures show the same where these are equal
    caption: str
    completed: str = ""  # of files with a fourth field

    @property
    def flags(self) -> list[int]:
        """A person's 21 attributes; none of a car."""
        return [int(flag) for flag in self.attribute.split(",")] if self.kind == "person" else []


@dataclass(frozen=True)
class Fault:
    """Why a line cannot be read."""

    line: int  # from 1
    field: str  # of FIELDS, or "line"
    why: str


def read(lines: Iterable[str], *, fields: int = 3) -> tuple[list[Record], list[Fault]]:
    """Records of all lines that can be read, and why the others cannot; empty lines at the end go.

    Args:
        fields: 3, or 4 for files with completed captions.
    """
    good: list[Record] = []
    bad: list[Fault] = []
    listed = [line.rstrip("\r\n") for line in lines]
    while listed and not listed[-1].strip():
        listed.pop()
    for number, line in enumerate(listed, start=1):
        found = _one(line, number, fields)
        if isinstance(found, Fault):
            bad.append(found)
        else:
            good.append(found)
    return good, bad


def _one(line: str, number: int, fields: int) -> Record | Fault:
    parts = [part.strip() for part in line.split("$")]
    if len(parts) > fields:
        return Fault(number, "line", f"{len(parts)} fields where {fields} are expected")
    for name, part in zip(FIELDS, parts, strict=False):
        if not part:
            return Fault(number, name, "is empty")
    if len(parts) < fields:
        return Fault(number, FIELDS[len(parts)], f"is missing: {len(parts)} of {fields} fields")
    image, attribute, caption, *more = parts
    if caption.strip(" .").lower() in ("", "this is a", "this is an", "a", "an"):
        return Fault(number, "caption", f"says nothing: {caption!r}")
    if Path(image).is_absolute() or ".." in Path(image).parts:
        return Fault(number, "image", f"{image!r} leads out of the picture folder")
    if "," in attribute:
        flags = attribute.split(",")
        if len(flags) != FLAGS:
            return Fault(number, "attribute", f"has {len(flags)} flags instead of {FLAGS}")
        if odd := [flag for flag in flags if flag not in ("0", "1")]:
            return Fault(number, "attribute", f"has a flag {odd[0]!r}; allowed are 0 and 1")
        return Record("person", image, attribute, caption, *more)
    return Record("car", image, phrase_of(attribute), caption, *more)


def phrase_of(attribute: str) -> str:
    """A car's attribute without its article and its final dot."""
    for article in ARTICLES:
        attribute = attribute.removeprefix(article)
    return " ".join(attribute.removesuffix(".").split())


def check(faults: Sequence[Fault], file: object) -> None:
    """Raises InputError naming the file and the lines that cannot be read."""
    if faults:
        told = [f"line {f.line}: {f.field} {f.why}" for f in faults[:10]]
        told += [f"... and {len(faults) - 10} more"] if len(faults) > 10 else []
        raise InputError(
            f"{file}: lines are image$attribute$caption, and some cannot be read (mend them, or set "
            "parse.skip_bad to leave them out):\n  " + "\n  ".join(told)
        )


def repeated(lines: Iterable[str], faults: Sequence[Fault]) -> list[Fault]:
    """Lines of an image that an earlier line has; those of `faults` do not count."""
    bad, seen = {fault.line for fault in faults}, dict[str, int]()
    found = []
    for number, line in enumerate(lines, start=1):
        image = line.partition("$")[0].strip()
        key = same(image)
        if image and number not in bad and seen.setdefault(key, number) != number:
            found.append(Fault(number, "image", f"{image!r} stands in line {seen[key]} already"))
    return found


def same(image: str) -> str:
    """What all names of a picture have in common: the organisers leave .jpg out of some."""
    return posixpath.normpath(image).removesuffix(".jpg")
