"""A prompt set: templates for every class and sentences for single ones, from a file people edit.

templates:                 # group: patterns; {} is the class name, [a|b] is either
  name: ["{}"]
  own: ["a [photo|image] of a {}"]
imagenet:                  # group: positions in CLIP's 80 ImageNet templates, or all
  imagenet_80: all
sentences:                 # class: sentences of its own, the group `sentences`
  street: [cars wait at a traffic light]
"""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from clipworks.kit import tables
from clipworks.kit.errors import InputError
from clipworks.kit.files import read_yaml
from clipworks.kit.params import Section
from clipworks.kit.shapes import Int

SENTENCES = "sentences"
IMAGENET_TEMPLATES = 80


class PromptFile(Section):
    """What the file holds; a part that is not there is empty."""

    templates: dict[str, list[str]] = Field(default={})
    imagenet: dict[str, list[int] | Literal["all"]] = Field(default={})
    sentences: dict[str, list[str]] = Field(default={})


class Prompt(BaseModel):
    """A prompt as `PromptSet.write` writes it."""

    label: str = Field(alias="class")
    group: str
    text: str


class Written(BaseModel):
    """What `PromptSet.write` writes."""

    classes: list[str]
    prompts: list[Prompt]


@dataclass(frozen=True)
class PromptSet:
    """Prompts in the order class, group, pattern."""

    classes: tuple[str, ...]
    texts: tuple[str, ...]
    owners: tuple[int, ...]  # class of each text
    groups: tuple[str, ...]  # group of each text

    @cached_property
    def owner(self) -> Int[np.ndarray, " prompt"]:
        """The class of each prompt, as an array."""
        return np.array(self.owners, np.int64)

    def rows(self, groups: Sequence[str]) -> Int[np.ndarray, " chosen"]:
        """Which prompts belong to some groups.

        Raises:
            InputError: there is no such group, or a class is left without a prompt.
        """
        known = list(dict.fromkeys(self.groups))
        if unknown := sorted(set(groups) - set(known)):
            raise InputError(f"no prompt group {unknown}; the prompts file has {known}")
        chosen = np.flatnonzero(np.isin(np.array(self.groups), list(groups)))
        counts = np.bincount(self.owner[chosen], minlength=len(self.classes))
        if bare := [name for name, n in zip(self.classes, counts, strict=True) if n == 0]:
            raise InputError(f"groups {list(groups)} leave {bare} without a prompt; add a group")
        return chosen

    def counts(self) -> dict[str, dict[str, int]]:
        """Prompts of each group, by class."""
        many = Counter(zip(self.owners, self.groups, strict=True))
        groups = dict.fromkeys(self.groups)
        return {name: {g: many[c, g] for g in groups} for c, name in enumerate(self.classes)}

    def write(self, path: Path) -> None:
        """Write as JSON, one prompt a line of the list."""
        parts = zip(self.owners, self.groups, self.texts, strict=True)
        rows = [
            {"class": self.classes[c], "group": group, "text": text} for c, group, text in parts
        ]
        tables.write_json(path, {"classes": self.classes, "prompts": rows})

    @classmethod
    def load(cls, path: Path) -> "PromptSet":
        """Read what `write` wrote.

        Raises:
            InputError: it holds something else.
        """
        content = tables.read_json(path, Written)
        classes, rows = tuple(content["classes"]), content["prompts"]
        if not rows or not {row["class"] for row in rows} <= set(classes):
            raise InputError(f"{path} holds no prompts of its own classes; run `dvc repro prompts`")
        return cls(
            classes,
            tuple(row["text"] for row in rows),
            tuple(classes.index(row["class"]) for row in rows),
            tuple(row["group"] for row in rows),
        )


EITHER = re.compile(r"\[([^\[\]]*)\]")


def expand(pattern: str, name: str) -> list[str]:
    """Fill in the class name and write out [a|b], the left bracket varying slowest."""
    pieces = EITHER.split(pattern)
    choices = [piece.split("|") if i % 2 else [piece] for i, piece in enumerate(pieces)]
    return ["".join(parts).replace("{}", name) for parts in itertools.product(*choices)]


def read_file(path: Path) -> PromptFile:
    """Read a prompts file.

    Raises:
        InputError: it is missing, of another form, or a template has no place for the name.
    """
    if not path.exists():
        raise InputError(
            f"prompts file {path} does not exist; it needs the parts templates, imagenet "
            "and sentences (see data/templates/ of solutions/scenes)"
        )
    content: Any = read_yaml(path)
    try:
        found = PromptFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its content"
        why = first["msg"].replace(" or instance of PromptFile", "")
        raise InputError(
            f"prompts file {path}: {place} has another form ({why}); allowed are "
            "'templates: {group: [pattern]}', 'imagenet: {group: [position] or all}' and "
            "'sentences: {class: [sentence]}'"
        ) from None
    for group, patterns in found.templates.items():
        if nameless := [pattern for pattern in patterns if "{}" not in pattern]:
            raise InputError(
                f"prompts file {path}: {nameless} of group {group!r} would say the same of every "
                "class; put {} where the class name belongs"
            )
        if odd := [pattern for pattern in patterns if set("[]") & set(EITHER.sub("", pattern))]:
            raise InputError(
                f"prompts file {path}: {odd} of group {group!r} has a bracket without its other half, or one "
                "within another; write [a|b] for either"
            )
    for label, sentences in found.sentences.items():
        if odd := [one for one in sentences if not one.strip() or set("[]{}") & set(one)]:
            raise InputError(
                f"prompts file {path}: sentences of {label!r} are taken as they stand, and {odd} are empty or hold "
                "brackets; {} and [a|b] belong to templates"
            )
    for group, places in found.imagenet.items():
        if places != "all" and (far := [i for i in places if not 0 <= i < IMAGENET_TEMPLATES]):
            raise InputError(f"prompts file {path}: {group!r} lists {far}; allowed are 0 to 79")
    if twice := sorted((found.templates.keys() & found.imagenet.keys()) | ({SENTENCES} & (found.templates.keys() | found.imagenet.keys()))):  # fmt: skip
        raise InputError(f"prompts file {path}: group {twice} stands there twice; rename one")
    return found


def check_classes(file: PromptFile, classes: Sequence[str], *, name: str) -> None:
    """Raises InputError where a file, by its name for messages, has sentences for what is no class."""
    if unknown := sorted(set(file.sentences) - set(classes)):
        raise InputError(
            f"{name} has sentences for {unknown}, which are no classes; the classes are "
            f"{list(classes)}, and names must match letter by letter; classes of your own want a prompts file of "
            "your own (prompts.file), whose sentences are theirs, or none"
        )


def build(
    file: PromptFile, classes: Sequence[str], imagenet: Sequence[str], *, name: str
) -> PromptSet:
    """All prompts of all classes.

    Args:
        imagenet: CLIP's 80 templates for the name "{}" (`clip.hand.imagenet_templates("{}")`).
        name: of the file, for messages.

    Raises:
        InputError: sentences for a class that does not exist.
    """
    check_classes(file, classes, name=name)
    texts: list[str] = []
    owners: list[int] = []
    groups: list[str] = []
    for c, label in enumerate(classes):
        parts = {g: [t for p in ps for t in expand(p, label)] for g, ps in file.templates.items()}
        for group, places in file.imagenet.items():
            chosen = imagenet if places == "all" else [imagenet[i] for i in places]
            parts[group] = [template.replace("{}", label) for template in chosen]
        parts[SENTENCES] = file.sentences.get(label, [])
        for group, some in parts.items():
            texts += some
            owners += [c] * len(some)
            groups += [group] * len(some)
    if not texts:
        raise InputError(
            f"{name} holds no prompts; give a template, such as templates: {{name: ['{{}}']}}"
        )
    return PromptSet(tuple(classes), tuple(texts), tuple(owners), tuple(groups))


def without_sentences(file: PromptFile, classes: Sequence[str]) -> list[str]:
    """Classes that have no sentence where others have one: allowed, but worth saying."""
    bare = [label for label in classes if not file.sentences.get(label)]
    return bare if len(bare) < len(classes) else []
