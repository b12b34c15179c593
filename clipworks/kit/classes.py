"""The class list of a run and the other words by which its classes are known."""

import difflib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE, read_text, read_yaml

LONGEST = 120  # letters of a class name: some thirty of the 77 tokens that CLIP reads


def folded(name: str) -> str:
    """A class's name as names are compared: in any case, and in any of Unicode's forms (a Mac writes é as
    e with an accent behind it)."""
    return unicodedata.normalize("NFC", name).lower()


class Synonyms(BaseModel):
    """Other words for classes, and phrases that hold a class's word but mean something else."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    synonyms: dict[str, list[str]] = {}
    other_meanings: list[str] = []

    @field_validator("synonyms")
    @classmethod
    def _in_any_case(cls, written: dict[str, list[str]]) -> dict[str, list[str]]:
        found = {folded(name): phrases for name, phrases in written.items()}
        if len(found) < len(written):
            twice = [name for name in written if [*map(folded, written)].count(folded(name)) > 1]
            raise ValueError(f"{twice} are one class; give it one line")
        return found

    def of(self, name: str) -> list[str]:
        """The other words of a class, which the file may write in any case."""
        return self.synonyms.get(folded(name), [])


def read_classes(path: Path) -> list[str]:
    """Class names, one a line; empty lines and lines that begin with # are passed over.

    Raises:
        InputError: the list is missing, empty, names a class twice or holds more than names.
    """
    if not path.exists():
        raise InputError(f"class list {path} does not exist; write one class name a line there")
    text = read_text(path)
    names = [unicodedata.normalize("NFC", line.strip()) for line in text.split("\n")]
    names = [name for name in names if name and not name.startswith("#")]
    if len(names) < 2:
        commas = " (not with commas between them)" if names and "," in names[0] else ""
        raise InputError(
            f"class list {path} has {len(names)} class{'es' * (len(names) != 1)}; at least 2 are needed, "
            f"one name a line{commas}"
        )
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if folded(name) in seen:
            raise InputError(f"class list {path}: {name!r} (entry {number}) stands there twice")
        if len(name) > LONGEST:
            raise InputError(
                f"class list {path}: entry {number} ({name[:40]!r} ...) has {len(name):,} letters; a name "
                f"has at most {LONGEST}, and CLIP reads no more"
            )
        if not re.search(r"\w", name):
            raise InputError(f"class list {path}: entry {number} ({name!r}) has no letter")
        seen.add(folded(name))
    return names


def check_same(there: Sequence[str], here: Sequence[str], *, what: str, stage: str) -> None:
    """Compare the class list of something stored with that of this run.

    Raises:
        InputError: they differ, or stand in another order; with some classes of each, and what to run.
    """
    if list(there) == list(here):
        return
    differ = (
        "the same classes in another order"
        if set(there) == set(here)
        else f"only there {sorted(set(there) - set(here))[:5]}, only here {sorted(set(here) - set(there))[:5]}"
    )
    raise InputError(
        f"{what} is of another class list: {differ}; run `dvc repro {stage}` for this list"
    )


def named(written: Sequence[str], class_names: Sequence[str], *, where: str) -> list[str]:
    """Classes that people wrote in any case, as the class list writes them.

    Args:
        where: the params.yaml key and the file, for messages.

    Raises:
        InputError: some are none of the list, with likely spellings.
    """
    own = {folded(name): name for name in class_names}
    if unknown := sorted({name for name in written if folded(name) not in own}):
        close = [difflib.get_close_matches(folded(name), own, 1) for name in unknown[:8]]
        shown = [
            f"{name!r}" + (f" (did you mean {own[found[0]]!r}?)" if found else "")
            for name, found in zip(unknown, close, strict=False)
        ]
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise InputError(
            f"{where}: no class {', '.join(shown)}{more} in the class list (base.classes)"
        )
    return [own[folded(name)] for name in written]


def misspelt(synonyms: Synonyms, class_names: list[str]) -> list[str]:
    """Keys of a synonyms file that are no class but look like one that has no synonyms.

    Other unknown keys are fine: one file may serve several class lists.
    """
    known = {folded(name) for name in class_names}
    bare = [name for name in class_names if folded(name) not in synonyms.synonyms]
    unknown = [key for key in synonyms.synonyms if key not in known]
    close = [(key, difflib.get_close_matches(key, bare, 1, cutoff=0.8)) for key in unknown]
    return [f"{key!r} (did you mean {found[0]!r}?)" for key, found in close if found]


def read_synonyms(path: Path) -> Synonyms:
    """Read a synonyms file; classes that it does not list are found by their names.

    Raises:
        InputError: the file is missing or not of the form `synonyms: {class: [words]}`.
    """
    if path == NONE:
        return Synonyms()
    if not path.exists():
        raise InputError(
            f"synonyms file {path} does not exist; data/classes/no_synonyms.yaml is an empty one"
        )
    content: Any = read_yaml(path) or {}
    try:
        return Synonyms.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its content"
        why = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"synonyms file {path}: {place} has another form ({why}); allowed are "
            "'synonyms: {class: [word, ...]}' and 'other_meanings: [phrase, ...]'"
        ) from None


def read_lists(
    path: Path, part: str, class_names: Sequence[str], *, key: str
) -> dict[str, list[str]]:
    """One part of a YAML file of named lists of classes (in any case), such as "groups" or "routes".

    Args:
        key: the params.yaml key that names the file, for messages.

    Raises:
        InputError: the file is missing, has no such part of the form `name: [class, ...]`, or a list is
            empty, names what is no class, or one class twice.
    """
    if not path.exists():
        raise InputError(f"{key}: {path} does not exist; allowed is a YAML file with {part!r}")
    content: Any = read_yaml(path, key=key)
    found = content.get(part) if isinstance(content, dict) else None
    if not isinstance(found, dict) or not all(isinstance(v, list) for v in found.values()):
        raise InputError(f"{key}: {path} needs a part '{part}: {{name: [class, ...]}}'")
    if empty := [str(name) for name, items in found.items() if not items]:
        raise InputError(f"{key}: {path}: {part} {empty} list no class")
    where = f"{key}: {path}"
    named([str(item) for items in found.values() for item in items], class_names, where=where)
    lists = {str(k): named([*map(str, v)], class_names, where=where) for k, v in found.items()}
    for name, items in lists.items():
        if twice := sorted({item for item in items if items.count(item) > 1}):
            raise InputError(f"{where}: {name!r} lists {twice} twice")
    return lists
