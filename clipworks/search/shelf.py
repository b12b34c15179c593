"""An index on disk: features of images, embedded once, and where each image lies.

    INDEX/about.json               the model, the sources, and which of the files below is valid
    INDEX/features-KEY.npy         float16, (image, dim), unit features
    INDEX/entries-KEY.parquet      a line an image, in the same order: by name, which breaks ties
    INDEX/parts/                   of a run that is not finished yet

about.json is replaced last, so a killed run leaves the old state or the new one, never half of one.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from clipworks.kit import files, tables
from clipworks.kit.errors import InputError

ABOUT = "about.json"
FORM: Literal[4] = 4  # rows of tables are called by their tables
OWN = r"(features-[0-9a-f]{16}\.npy|entries-[0-9a-f]{16}\.parquet)"
AGAIN = "delete the index's folder and make it again"
BLOCK = 65_536  # rows that are copied at once


@dataclass(frozen=True)
class Entry:
    """An image: its name as people know it, and what to read it from."""

    name: str
    kind: str  # files, tar or parquet
    path: str  # the file, the archive or the table; absolute
    group: int  # row group of a table
    size: int  # of that file, and when it was changed: another one is another image
    mtime: int

    @property
    def key(self) -> tuple[str, str, int, int, int]:
        """What tells the file, archive or table from another state of itself."""
        return (self.kind, self.path, self.group, self.size, self.mtime)


SCHEMA = pa.schema(
    {"name": pa.string(), "kind": pa.string(), "path": pa.string(), "group": pa.int32(),
     "size": pa.int64(), "mtime": pa.int64()}
)  # fmt: skip


@dataclass(frozen=True)
class About:
    """What an index was made with."""

    model: str
    sources: list[str]  # absolute
    digest: str  # of the model: its weights, and how it wants its pictures
    form: Literal[4] = field(kw_only=True)  # of the index: those of before are made again
    key: str = ""  # of the valid files; empty for none yet
    images: int = 0
    # What could not be read of archives and tables that are not looked into again: (archive, name, why)
    bad: list[tuple[str, str, str]] = field(default_factory=list)


class Shelf:
    """The files of an index."""

    def __init__(self, folder: Path, about: About) -> None:
        self.folder, self.about = folder, about

    @classmethod
    def open(cls, folder: Path) -> "Shelf":
        """Open an index.

        Raises:
            InputError: there is none, or it is of another form.
        """
        if not (folder / ABOUT).exists():
            raise InputError(
                f"there is no index {folder}; `clipworks search index FOLDER --index {folder}` makes one"
            )
        try:
            about = TypeAdapter(About).validate_python(files.read_json(folder / ABOUT))
        except InputError as error:
            raise InputError(f"{error}; {AGAIN}") from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "its content"
            raise InputError(
                f"{folder / ABOUT}: no index of this version ({place}: {first['msg']}); {AGAIN}"
            ) from None
        return cls(folder, about)

    @staticmethod
    def check_new(folder: Path) -> None:
        """Raises InputError where a new index would lie among other files: it could be taken for its own."""
        parts = r"(\.lock|.*\.safetensors|.*\.tmp)"
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            own = re.fullmatch(f"({OWN}|.*\\.tmp|faiss-.*)", path.name) or (
                path.name == "parts" and path.is_dir()
                and all(re.fullmatch(parts, other.name) for other in path.iterdir())
            )  # fmt: skip
            if not own:
                raise InputError(
                    f"--index: {folder} holds other files, such as {files.printable(path.name)}; an index needs "
                    "a folder of its own"
                )

    def check_model(self, digest: str) -> None:
        """Raises InputError where a model is not the one that the index was made with."""
        if self.about.digest != digest:
            raise InputError(
                f"the model {self.about.model} is not the one that this index was made with (its weights changed, "
                "or how it prepares pictures): make the index anew in another folder"
            )

    def entries(self) -> list[Entry]:
        """All images, in order."""
        if not self.about.key:
            return []
        path = self.folder / f"entries-{self.about.key}.parquet"
        try:
            found = [Entry(**row) for row in tables.rows(path, form=SCHEMA)]
        except (InputError, OSError, pa.ArrowInvalid):
            raise InputError(f"{path} cannot be read as a list of images; {AGAIN}") from None  # fmt: skip
        self._check_count(path, len(found))
        return found

    def features(self) -> np.ndarray:
        """Unit features, mapped: nothing is read before it is needed.

        Raises:
            InputError: they are not whole.
        """
        path = self.folder / f"features-{self.about.key}.npy"
        try:
            found: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{path} cannot be read ({error}); {AGAIN}") from None
        if found.ndim != 2 or found.dtype != np.float16:
            raise InputError(f"{path} is of another form; {AGAIN}")
        self._check_count(path, len(found))
        return found

    def _check_count(self, path: Path, count: int) -> None:
        if count != self.about.images:
            raise InputError(
                f"{path} is of {count:,} images, and the index of {self.about.images:,}; {AGAIN}"
            )

    def replace(
        self, rows: Sequence[tuple[Entry, int, int]], stores: Sequence[np.ndarray], about: About
    ) -> "Shelf":
        """Write a new state and drop the old one.

        Args:
            rows: each image with the store that has its feature, and the row there.
            stores: arrays of unit features.
        """
        ordered = sorted(rows, key=lambda row: row[0].name)
        listed = json.dumps([asdict(entry) for entry, _, _ in ordered]).encode()
        key = hashlib.sha256(listed + about.model.encode()).hexdigest()[:16]
        dim = stores[0].shape[1] if stores else 0
        draft = self.folder / "features.tmp"
        out = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
            draft, mode="w+", dtype=np.float16, shape=(len(ordered), dim)
        )
        files.reserve(draft)
        owner = np.array([store for _, store, _ in ordered], dtype=np.int64)
        place = np.array([row for _, _, row in ordered], dtype=np.int64)
        for start in range(0, len(ordered), BLOCK):
            stop = start + BLOCK
            for number in np.unique(owner[start:stop]):
                mine = np.flatnonzero(owner[start:stop] == number) + start
                out[mine] = stores[number][place[mine]]
        out.flush()
        del out
        draft.replace(self.folder / f"features-{key}.npy")
        table = pa.Table.from_pylist([asdict(entry) for entry, _, _ in ordered], schema=SCHEMA)
        pq.write_table(table, self.folder / "entries.tmp", compression="zstd")
        (self.folder / "entries.tmp").replace(self.folder / f"entries-{key}.parquet")
        made = Shelf(self.folder, About(**{**asdict(about), "key": key, "images": len(ordered)}))
        made.write()
        for path in self.folder.iterdir():
            if re.fullmatch(OWN, path.name) and key not in path.name:
                path.unlink()
        return made

    def write(self) -> None:
        """Write about.json, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / "about.tmp"
        draft.write_text(json.dumps(asdict(self.about), indent=2) + "\n", encoding="utf-8")
        draft.replace(self.folder / ABOUT)
