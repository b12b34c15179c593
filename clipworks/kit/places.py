"""Where results are written: folders that one run has to itself, and files that may replace others."""

import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from clipworks.kit.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

DAY = 24 * 3600.0  # seconds after which nobody writes a draft any more
MARK = '<meta name="generator" content="clipworks">'  # in pages that may replace one of their kind


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
        InputError: another kind of file than these suffixes, a folder of that name, a table of images or a
            page of somebody's that would be replaced, or see `make_folder`.
    """
    if path.suffix not in kinds:
        raise InputError(f"{key} {path}: what is written is {', '.join(kinds)}")
    try:
        is_folder = path.is_dir()
    except OSError as error:  # a name too long, a closed folder
        raise InputError(f"{key}: {path} cannot be written: {error.strerror}") from None
    if is_folder:
        raise InputError(f"{key}: {path} is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise InputError(f"{key}: {path} is no plain file (a pipe or a device); name another")
    if path.suffix == ".html" and path.is_file() and not _is_ours(path):
        raise InputError(
            f"{key}: {path} is a page, and none of clipworks (or of an old version); move it away, or give "
            "another name"
        )
    if path.suffix == ".parquet" and path.is_file() and holds_bytes(path):
        raise InputError(
            f"{key}: {path} holds images, which a table of results would replace; name another file"
        )
    make_folder(_led_to(path).parent, key=key)


def holds_bytes(table: Path) -> bool:
    """Whether a parquet table has a column of bytes, as images are kept; no table of results has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        fields = pq.read_schema(table)
    except (pa.ArrowException, OSError):  # what is no whole table
        return False
    return any(_of_bytes(field.type) for field in fields)


def _of_bytes(kind: Any) -> bool:
    """Whether a column is of bytes, or of lists or parts that are."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _of_bytes(kind.value_type)
    tests = ("binary", "large_binary", "fixed_size_binary", "binary_view")
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return any(getattr(pa.types, f"is_{test}")(kind) for test in tests) or any(
        map(_of_bytes, inner)
    )


def page_beside(table: Path) -> Path:
    """Where the page of a table goes that `make_place` approved: beside it, by the same name.

    Raises:
        InputError: it cannot be written there, or a page lies there that is none of ours.
    """
    page = table.with_suffix(".html")
    make_place(page, (".html",), key=f"the page beside --out {table}")
    return page


def _is_ours(page: Path) -> bool:
    """Whether a page may be replaced: one of ours, or an empty file, as a full disk leaves."""
    try:
        with page.open("rb") as file:
            start = file.read(1000)
    except OSError as error:
        raise InputError(f"{page} cannot be read: {error.strerror}") from None
    return not start or MARK.encode() in start


def _led_to(path: Path) -> Path:
    """What a link leads to, to be replaced in its place; the link itself where that may not be written to
    (a cache that links lead into, such as DVC's)."""
    real = Path(os.path.realpath(path))
    closed = real.is_file() and not real.stat().st_mode & stat.S_IWUSR
    return path if closed else real


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft to be written that then takes the place of a file: whole, or the old one stays. A link stays
    one, and what it leads to is replaced, if that may be written to."""
    path = _led_to(path)
    own = f".clipworks-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}-"
    for other in path.parent.glob(f"{own}*.tmp"):  # of a run that was killed
        with suppress(OSError):
            if time.time() - other.stat().st_mtime > DAY:
                other.unlink()
    # Not by the process's number alone: on two machines, or in two containers, that may be the same.
    draft = path.with_name(f"{own}{secrets.token_hex(4)}.tmp")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
