"""Where images come from: folders, files, globs, tar shards (webdataset) and parquet tables.

A source is a list of units that can be read one by one, so that work can stop and go on between
them: a unit is a run of files, a whole tar, or a row group of a parquet file. Nothing is unpacked:
members of an archive are read into memory, whatever their names say.
"""

import glob
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tarfile import ReadError, TruncatedHeaderError  # type: ignore[attr-defined]

import pyarrow as pa
import pyarrow.parquet as pq

from clipworks.kit.errors import InputError
from clipworks.kit.files import is_hidden, printable, walk
from clipworks.kit.images import is_picture
from clipworks.tagging import rows

FILES_A_UNIT = int(os.environ.get("CLIPWORKS_TAG_FILES", "256"))  # a kill loses at most so many
LARGEST = 500_000_000  # bytes of one image in an archive
INDEX = r"entries-[0-9a-f]{16}\.parquet"  # lies in each index of `clipworks search`
TARS = (".tar", ".tar.gz", ".tgz")
Content = Path | bytes


@dataclass(frozen=True)
class Unit:
    """Images that are read together."""

    kind: str  # files, tar or parquet
    path: Path  # the folder, the archive or the table
    names: tuple[str, ...] = ()  # of files, relative to the folder
    group: int = 0  # row group of a table
    shown: Path | None = None  # the folder as people named it, where `path` is another name of it

    def fingerprint(self) -> list[object]:
        """What tells it from another state of itself: names, sizes and times."""
        many = [self.path / name for name in self.names] if self.kind == "files" else [self.path]
        stats = [(path.name, path.stat()) for path in many if os.path.exists(path)]  # noqa: PTH110  (raises nothing)
        facts = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        return [self.kind, self.path.as_posix(), list(self.names), self.group, facts]

    def count(self) -> int:
        """How many images; of a tar nobody knows before it is read."""
        if self.kind == "parquet":
            return int(pq.read_metadata(self.path).row_group(self.group).num_rows)
        return len(self.names)

    def read(self) -> Iterator[tuple[str, Content | Exception]]:
        """Names of images, each with its file or content, or why there is none."""
        told = self.shown or self.path
        if self.kind == "files":
            for name in self.names:
                yield printable((told / name).as_posix()), loose(self.path / name)
        elif self.kind == "tar":
            yield from _members(self.path, printable(told.as_posix()))
        else:
            yield from rows.read(self.path, self.group, printable(told.as_posix()))


def listable(path: Path) -> Content | Exception:
    """A file, or the reason why no table can hold its name."""
    odd = printable(str(path)) != str(path)
    return InputError("its name is no UTF-8; rename it") if odd else path


def loose(path: Path) -> Content | Exception:
    """The same of a file in a run; a whole table or shard is none, but a unit of its own."""
    return InputError("no whole table") if is_packed(path) else listable(path)


def find(words: Sequence[str], *, but: Path | None = None) -> list[Unit]:
    """Units of what was named on the command line, in a fixed order.

    Args:
        but: a table that lies in one of the folders and is no source, since it is what is written.

    Raises:
        InputError: something is not there, holds no image, or a table has no column of images.
    """
    units: list[Unit] = []
    for word in words:
        path = Path(word)
        if os.path.isdir(word):  # noqa: PTH112  (raises nothing, whatever the word)
            units += _folder(path, but)
        elif os.path.isfile(word):  # noqa: PTH113
            units += _file(path)
        else:
            matches = sorted(glob.glob(word, recursive=True))  # noqa: PTH207  (a pattern may be absolute)
            if not matches:
                raise InputError(f"{word!r}: no such file or folder, and no file matches it")
            found = [p for p in map(Path, matches) if not p.is_dir()]
            packed = {p for p in found if is_packed(p) and not rows.is_broken(p)}
            loose = [
                p for p in found if p not in packed and (is_picture(p.name) or is_named_packed(p))
            ]
            units += _runs(Path(), [p.as_posix() for p in loose])
            for match in map(Path, matches):
                if match.is_dir():
                    units += _folder(match, but, needed=False)
                elif match in packed and not (_is(match, but) or rows.holds_none(match)):
                    units += _file(match)
    units = _once(units)
    if not units:
        raise InputError(
            f"no images in {', '.join(words)}; known are files such as .jpg, .png, .webp"
        )
    return units


def _once(units: Sequence[Unit]) -> list[Unit]:
    """Without what was named before ("photos photos/a.jpg")."""
    seen: set[str] = set()
    kept = []
    for unit in units:
        places = [os.path.abspath(unit.path / name) for name in unit.names or ("",)]  # noqa: PTH100  (links stay)
        keys = [f"{place} {unit.group}" for place in places]
        fresh = [i for i, key in enumerate(keys) if key not in seen]
        seen.update(keys)
        if len(fresh) == len(keys):
            kept.append(unit)
        elif fresh:
            kept.append(replace(unit, names=tuple(unit.names[i] for i in fresh)))
    return kept


def _is(path: Path, but: Path | None) -> bool:
    return but is not None and os.path.realpath(path) == os.path.realpath(but)


def _folder(path: Path, but: Path | None = None, *, needed: bool = True) -> list[Unit]:
    """Images under a folder, all the way down; shards and tables too, but for those of an index and those
    that hold no images. A damaged table, a link that leads nowhere or a pipe stays with its name, to be
    listed as bad."""
    found = [name for name in walk(path) if is_picture(name) or is_named_packed(Path(name))]
    ours = {Path(name).parent for name in found if re.fullmatch(INDEX, Path(name).name)}
    found = [
        name
        for name in found
        if Path(name).parent not in ours
        and not (is_named_packed(Path(name)) and _is(path / name, but))
    ]
    packed = {name for name in found if is_packed(path / name) and not rows.is_broken(path / name)}
    loose = [name for name in found if name not in packed]
    tables = [name for name in found if name in packed and not rows.holds_none(path / name)]
    units = [*_runs(path, loose), *(unit for name in tables for unit in _file(path / name))]
    if needed and not units:
        raise InputError(
            f"{path} holds no images (nor do its sub-folders); known are files such as .jpg, .png, "
            ".webp, .tar and .parquet"
        )
    return units


def _runs(folder: Path, names: Sequence[str]) -> list[Unit]:
    return [Unit("files", folder, tuple(run)) for run in runs(names)]


def runs(names: Sequence[str]) -> list[list[str]]:
    """Names by the hundred. A run ends where the name says so, or where it is full: what is added to a
    folder, or taken away, leaves most runs what they were."""
    found: list[list[str]] = [[]]
    for name in names:
        if len(found[-1]) == FILES_A_UNIT:
            found.append([])
        found[-1].append(name)
        if zlib.crc32(os.fsencode(name)) % max(1, FILES_A_UNIT // 2) == 0:
            found.append([])
    return [run for run in found if run]


def _file(path: Path) -> list[Unit]:
    if path.name.lower().endswith(TARS):
        return [Unit("tar", path)]
    if path.suffix.lower() == ".parquet":
        try:
            file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path}: no parquet table ({error})") from None
        with file:
            rows.column_of(file.schema_arrow, path)
            return [Unit("parquet", path, group=i) for i in range(file.num_row_groups)]
    return [Unit("files", path.parent, (path.name,))]


def is_packed(path: Path) -> bool:
    """Whether a file counts as a shard or a table, by its name; not a pipe, or a link that leads nowhere."""
    return is_named_packed(path) and os.path.isfile(path)  # noqa: PTH113  (raises nothing)


def is_named_packed(path: Path) -> bool:
    """The same of a file that may be gone."""
    return path.name.lower().endswith((*TARS, ".parquet"))


class _Member(tarfile.TarInfo):
    """Says where an archive ends within a member's header, which tarfile takes for its end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "_Member":
        try:
            return super().fromtarfile(tarfile)
        except TruncatedHeaderError as error:
            raise ReadError(str(error)) from None


def _members(path: Path, shown: str) -> Iterator[tuple[str, Content | Exception]]:
    """Images of a tar in its order, with their place where a name comes again. Links and devices are
    refused: they can lead out of it."""
    seen: set[str] = set()
    try:
        with tarfile.open(path, "r|*", tarinfo=_Member) as archive:
            for place, member in enumerate(archive):
                own = not any(map(is_hidden, set(Path(member.name).parts) - {".."}))
                if member.isdir() or not is_picture(member.name) or not own:
                    continue
                name = f"{shown}/{printable(member.name)}"
                name = f"{name} (member {place})" if name in seen else name
                seen.add(name)
                if not member.isfile():
                    yield name, InputError("no plain file (a link or a device)")
                elif member.size > LARGEST:
                    yield name, InputError(f"{member.size:,} bytes, more than {LARGEST:,}")
                else:
                    file = archive.extractfile(member)
                    yield name, file.read() if file else b""
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        yield f"{shown} (the rest)", InputError(f"the archive ends in a fault: {error}")
