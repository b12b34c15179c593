"""Reading text files of people's making: UTF-8 with or without a mark, and errors that name the file."""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml

from clipworks.kit.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NONE = Path("data/none")  # stands for no file: DVC cannot depend on an empty path

MARK = '<meta name="generator" content="clipworks">'  # in pages that may replace one of their kind

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


def check_names(names: Iterable[str], folder: Path) -> None:
    """Raises InputError for file names that are no UTF-8: no list could hold them."""
    if odd := [printable(name) for name in names if printable(name) != name]:
        raise InputError(
            f"{folder}: {', '.join(odd[:5])}: names that are no UTF-8; rename the files"
        )


def walk(folder: Path) -> list[str]:
    """Files under a folder, all the way down and through linked folders, relative to it, sorted.

    What is no plain file (a link that leads nowhere, a pipe) is named too: whoever reads it says so. A
    folder that is there twice, by links, is walked once.

    Raises:
        InputError: a folder cannot be looked into: what lies there would be missed without a word.
    """
    found: list[str] = []
    seen: set[str] = set()

    def closed(error: OSError) -> None:
        raise InputError(
            f"{printable(str(error.filename))} cannot be looked into: {error.strerror}"
        )

    for top, folders, names in os.walk(folder, followlinks=True, onerror=closed):
        folders.sort(key=lambda name: (Path(top, name).is_symlink(), name))
        if (real := os.path.realpath(top)) in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(top, name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


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


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in a folder of one's own, which goes again if nothing was left there; Windows has no such
    locks, and goes without.

    Raises:
        InputError: another process is at work there.
    """
    make_folder(folder, key="a folder to work in")
    if fcntl is None:
        yield
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        return
    busy = f"another run is at work in {folder}; wait for it, or write to another place"
    lock = folder / ".lock"
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some file systems of many machines have no such locks: they go without, as Windows does.
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise InputError(busy) from None
        if not lock.exists() or not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
            raise InputError(busy)  # it ended between our two calls, and took its lock with it
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is still ours
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def clear_folder(folder: Path) -> None:
    """Empty a folder that `alone` holds: its lock stays until the work there has ended."""
    for path in folder.iterdir() if folder.is_dir() else []:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != ".lock":
            with suppress(OSError):  # where somebody has it open
                path.unlink()


def check_stored(path: Path, made_by: str = "run the stage that writes it (`dvc repro`)") -> None:
    """Raises InputError where a file that a stage wrote is not there."""
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}; {made_by}")


def make_folder(folder: Path, *, key: str = "--out") -> None:
    """Raises InputError for a folder that cannot be made or written to: now, not after the work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"{key}: the folder {folder} cannot be made or written to ({error.strerror})"
        ) from None


def make_place(path: Path, kinds: Sequence[str], *, key: str = "--out") -> None:
    """Make the folder of a file that is to be written.

    Raises:
        InputError: another kind of file than these suffixes, a folder of that name, a table of images that
            would be replaced, or see `make_folder`.
    """
    if path.suffix not in kinds:
        raise InputError(f"{key} {path}: what is written is {', '.join(kinds)}")
    try:
        is_folder = path.is_dir()
    except OSError as error:  # a name too long, a closed folder
        raise InputError(f"{key}: {path} cannot be written: {error.strerror}") from None
    if is_folder:
        raise InputError(f"{key}: {path} is a folder; name a file in it")
    if path.suffix == ".parquet" and path.is_file() and _holds_bytes(path):
        raise InputError(
            f"{key}: {path} holds images, which a table of results would replace; name another file"
        )
    make_folder(path.parent, key=key)


def _holds_bytes(table: Path) -> bool:
    """Whether a parquet table has a column of bytes, as images are kept; no table of results has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        fields = pq.read_schema(table)
    except (pa.ArrowException, OSError):  # what is no whole table
        return False
    kinds = [field.type for field in fields]
    kinds += [part.type for kind in kinds if pa.types.is_struct(kind) for part in kind]
    return any(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) for kind in kinds)


def page_beside(table: Path) -> Path:
    """Where the page of a table goes that `make_place` approved: beside it, by the same name.

    Raises:
        InputError: it cannot be written there, or a page lies there that is none of ours.
    """
    page = table.with_suffix(".html")
    make_place(page, (".html",), key="the page beside --out")
    if page.exists():
        with page.open("rb") as file:
            if MARK.encode() not in file.read(1000):
                raise InputError(
                    f"--out {table}: its page would replace {page}, which is none of clipworks (or of an old "
                    "version); move that away, or give the table another name"
                )
    return page


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
