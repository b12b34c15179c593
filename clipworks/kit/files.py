"""Reading text files of people's making: UTF-8 with or without a mark, and errors that name the file."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from clipworks.kit.errors import InputError

NONE = Path("data/none")  # stands for no file: DVC cannot depend on an empty path

# The compiled loader is ten times as fast, where PyYAML was built with it.
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):
    """Refuses a key that stands there twice, of which PyYAML would take the last without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"{key.value!r} stands there twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def printable(name: str) -> str:
    """A file's name as text that can be written anywhere: bytes that are no UTF-8 stand as \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def can_be(name: str) -> bool:
    """Whether a file system can have such a path, and a table such a text."""
    try:
        parts = name.encode().split(b"/")
    except UnicodeEncodeError:  # half of a sign
        return False
    fits = all(len(part) <= 255 for part in parts) and sum(map(len, parts)) < 3_000
    return "\0" not in name and fits


def check_names(names: Iterable[str], folder: Path) -> None:
    """Raises InputError for file names that are no UTF-8: no list could hold them."""
    if odd := [printable(name) for name in names if printable(name) != name]:
        raise InputError(
            f"{folder}: {', '.join(odd[:5])}: names that are no UTF-8; rename the files"
        )


def walk(folder: Path) -> list[str]:
    """Files under a folder, all the way down and through linked folders, relative to it, sorted.

    What is no plain file (a link that leads nowhere, a pipe) is named too: whoever reads it says so. A
    folder that is there twice, by links, is walked once. What is hidden, or a system's own (thumbnails,
    copies of a notebook, what a Mac puts beside a file), is nobody's picture, and passed over.

    Raises:
        InputError: a folder cannot be looked into: what lies there would be missed without a word.
    """
    found: list[str] = []
    for top, folders, names in _folders(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        own = [Path(top, name) for name in names if not is_hidden(name)]
        found += [path.relative_to(folder).as_posix() for path in own]
    return sorted(found)


def _folders(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """os.walk through linked folders, a folder by its own name before its links, and once."""
    seen: set[str] = set()
    for top, folders, names in os.walk(folder, followlinks=True, onerror=_closed):
        folders.sort(key=lambda name: (Path(top, name).is_symlink(), name))
        if (real := os.path.realpath(top)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield top, folders, names


def _closed(error: OSError) -> None:
    raise InputError(f"{printable(str(error.filename))} cannot be looked into: {error.strerror}")


def check_plain(folder: Path, key: str = "") -> None:
    """Refuse what DVC, which reads all of a folder that it watches, would stop at or wait for for ever.

    Raises:
        InputError: a link that leads nowhere or to what is closed, a pipe or a device lies in the folder,
            hidden ones too; or a folder in it is closed.
    """
    odd: list[Path] = []
    for top, _, names in _folders(folder) if folder.is_dir() else ():
        # Path.is_file raises where a link leads into a closed folder.
        odd += [path for name in names if not os.path.isfile(path := Path(top, name))]  # noqa: PTH113
    if odd:
        shown = ", ".join(
            printable(path.relative_to(folder).as_posix()) for path in sorted(odd)[:5]
        )
        raise InputError(
            f"{key + ': ' if key else ''}{folder}: {shown}: no plain files to be read (links that lead nowhere, pipes), at "
            "which DVC would stop or wait for ever; take them away"
        )


def is_hidden(name: str) -> bool:
    """Whether a file's or a folder's name says that it is not people's own."""
    return name.startswith(".") or name in ("@eaDir", "__MACOSX")


def reserve(path: Path) -> None:
    """Take the disk space of a file that is to be written through memory: where there is none, that
    ends the process without a word, and this is an OSError."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def state(path: Path) -> tuple[str, int, int]:
    """What tells a file from another state of itself: its name, size and time of change.

    Raises:
        InputError: it went.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return str(path), found.st_size, found.st_mtime_ns


def check_stored(path: Path, made_by: str = "run the stage that writes it (`dvc repro`)") -> None:
    """Raises InputError where a file that a stage wrote is not there."""
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}; {made_by}")


def read_text(path: Path, *, key: str = "") -> str:
    """A text file's content, without the byte-order mark that some editors put before it.

    Args:
        key: the params.yaml key that names the file, for messages.

    Raises:
        InputError: the file is missing, a folder, or not UTF-8.
    """
    where = _where(path, key)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{where} does not exist") from None
    except OSError as error:  # a folder, no permission, a name too long
        raise InputError(f"{where} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}); save it as UTF-8"
        ) from None


def read_json(path: Path, *, key: str = "") -> Any:
    """A JSON file's content.

    Raises:
        InputError: the file cannot be read, or is no JSON, with the line.
    """
    text = read_text(path, key=key)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{_where(path, key)}, line {error.lineno}, column {error.colno}: no valid JSON ({error.msg})"
        ) from None
    except (RecursionError, ValueError) as error:
        raise InputError(f"{_where(path, key)} {_BEYOND} ({error})") from None


def read_yaml(path: Path, *, key: str = "") -> Any:
    """A YAML file's content; None for an empty one.

    Raises:
        InputError: the file cannot be read, or is no YAML, with the line.
    """
    text = read_text(path, key=key)
    try:
        return yaml.load(text, _Loader)  # a safe loader, either way
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", "not readable")
        if isinstance(error, yaml.reader.ReaderError):  # a sign that no text has; it has no mark
            line = f", line {text[: error.position].count(chr(10)) + 1}"
        raise InputError(f"{_where(path, key)}{line}: no valid YAML ({problem})") from None
    except (RecursionError, ValueError) as error:
        raise InputError(f"{_where(path, key)} {_BEYOND} ({error})") from None


# Brackets by the thousand, numbers of 5,000 digits.
_BEYOND = "is nested too deeply, or holds a number with too many digits"


def _where(path: Path, key: str) -> str:
    return f"{key}: {path}" if key else str(path)
