"""params.yaml as typed, frozen values: a typo, a wrong type or a contradiction stops the run.

One model per section, nothing optional: what is not written in params.yaml is not a default hidden
here. A section's model lives in the room that it drives; `Base`, which all share, lives here.
"""

import difflib
import os
import re
import reprlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE, read_yaml

PARAMS = Path("params.yaml")
# The tuned models, each a section of `train`, in the order in which their logits are stored.
MODELS = ("base", "ema", "zema", "diff", "diffh", "difft")
GENERATED = ("multi", "single", "challenge")  # the kinds of captions that a chat model writes


def number(value: Any) -> Any:
    """PyYAML reads 1e-3 as a string; read it as people mean it."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


T = TypeVar("T")


def once(values: list[T]) -> list[T]:
    """A list that names nothing twice.

    Raises:
        InputError: with what it names twice.
    """
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise InputError(f"{twice} stand there twice; name each once")
    return values


def place(value: str) -> str:
    """A path that a file system can have.

    Raises:
        InputError: it is empty, holds a NUL, or a name in it is too long.
    """
    if not value.strip():
        raise InputError(f"an empty path; {NONE} stands for nothing")
    if value.startswith("~"):
        raise InputError(f"{value}: ~ stands for nothing here; write the folder's whole path")
    if "\0" in value or any(len(os.fsencode(part)) > 255 for part in value.split("/")):
        raise InputError(f"{reprlib.repr(value)} is no path that a file system can have")
    return value


Once = AfterValidator(once)
Place = Annotated[str, AfterValidator(place)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
# Every number has limits on both sides (tests/test_params.py); beyond them lies a slip of the keyboard.
Number = Annotated[float, BeforeValidator(number), Field(ge=-1e6, le=1e6)]
NotNegative = Annotated[float, BeforeValidator(number), Field(ge=0, le=1e6)]
Positive = Annotated[float, BeforeValidator(number), Field(ge=1e-9, le=1e6)]
Share = Annotated[float, BeforeValidator(number), Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
AtLeastOne = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what NumPy and torch both take


class Section(BaseModel):
    """A section of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Base(Section):
    """What several stages share."""

    seed: Seed
    classes: Place
    synonyms: Place  # a file; data/classes/no_synonyms.yaml for none
    device: Literal["auto", "cpu", "cuda", "mps"]


S = TypeVar("S", bound=Section)


def load(section: str, schema: type[S], path: Path = PARAMS) -> S:
    """Read one section ("train.base" goes down a level).

    Raises:
        InputError: with the section, the key, what is allowed and a likely spelling.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; run from the project's top folder")
    content: Any = read_yaml(path)
    for key in section.split("."):
        if not isinstance(content, dict) or key not in content:
            known = sorted(content) if isinstance(content, dict) else []
            if not key:
                raise InputError(f"{path}: section {section[:-1]!r}: name one of {known}")
            raise InputError(
                f"{path}: no section {section!r}; there are {known}{_close(key, known)}"
            )
        content = content[key]
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        lines = [explain(section, schema, issue) for issue in error.errors()]
        raise InputError(f"{path}: " + "\n".join(lines)) from None


M = TypeVar("M", bound=BaseModel)


def load_whole(schema: type[M], path: Path = PARAMS) -> M:
    """Read all sections.

    Raises:
        InputError: every unknown, missing or mistyped key at once, each with what is allowed.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; run from the project's top folder")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no sections; allowed are {sorted(schema.model_fields)}")
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        lines = [explain("", schema, issue) for issue in error.errors()]
        raise InputError(f"{path}: " + "\n".join(lines)) from None


def explain(section: str, schema: type[BaseModel], issue: Any) -> str:
    """What pydantic found, with the section, the key, what is allowed and a likely spelling."""
    path = [*filter(None, section.split(".")), *(str(part) for part in issue["loc"])]
    where = f"section {path[0]!r}" + (f", key {'.'.join(path[1:])!r}" if path[1:] else "")
    owner: Any = schema
    for part in issue["loc"][:-1]:
        field = getattr(owner, "model_fields", {}).get(part)
        # An entry of a table, or of a list, has the type that the table names last.
        owner = field.annotation if field else (get_args(owner) or [None])[-1]
    allowed = sorted(getattr(owner, "model_fields", {}))
    if issue["type"] == "extra_forbidden":
        key = str(issue["loc"][-1])
        hint = _close(key, allowed) or _inside(owner, key)
        return f"{where}: unknown; allowed are {allowed or 'none'}{hint}"
    if issue["type"] == "missing":
        return f"{where}: missing"
    if issue["type"] == "value_error":  # a contradiction within a section
        return f"{where}: {issue['msg'].removeprefix('Value error, ')}"
    if issue["type"] == "model_type":
        return f"{where}: holds keys and their values, not {reprlib.repr(issue['input'])}"
    shown = repr(issue["input"])
    if len(shown) > 100:
        shown = f"{shown[:100]} ..."
    known = (
        re.findall(r"'([^']*)'", issue["ctx"]["expected"])
        if issue["type"] == "literal_error"
        else []
    )
    return f"{where}: {issue['msg']} (got {shown}){_close(str(issue['input']), known)}"


def _close(word: str, known: list[str]) -> str:
    own = {name.lower(): name for name in known}
    match = difflib.get_close_matches(word.lower(), own, 1)
    return f"; did you mean {own[match[0]]!r}?" if match else ""


def _inside(owner: Any, key: str) -> str:
    """Where a key belongs that stands a level too high."""
    fields = getattr(owner, "model_fields", {})
    found = [
        f"{name}.{key}"
        for name, f in fields.items()
        if key in getattr(f.annotation, "model_fields", {})
    ]
    return f"; did you mean {found[0]!r}?" if found else ""


def collect(checks: Iterable[Callable[[], object]]) -> None:
    """Run all checks of params.yaml.

    Raises:
        InputError: everything that they found wrong, a line each.
    """
    faults = []
    for one in checks:
        try:
            one()
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError(f"{PARAMS} cannot be run:\n  " + "\n  ".join(dict.fromkeys(faults)))
