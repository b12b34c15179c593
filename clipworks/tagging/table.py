"""The table of tags: parquet, csv or json, a line an image, written as it comes."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from clipworks.kit.places import replacing
from clipworks.kit.tables import Writer
from clipworks.tagging.tagger import Tag

KINDS = (".parquet", ".csv", ".json")
BOX = ("left", "top", "right", "bottom")
SCHEMA = pa.schema(
    {
        "image": pa.string(),
        "tags": pa.list_(
            pa.struct(
                {"tag": pa.string(), "probability": pa.float32(), **dict.fromkeys(BOX, pa.int32())}
            )
        ),
        "error": pa.string(),
    }
)
COLUMNS = ("image", "tags", "probabilities", "windows", "error")


@dataclass(frozen=True)
class Line:
    """An image with its tags, or why there are none."""

    image: str
    tags: list[Tag]
    error: str | None = None

    def plain(self) -> dict[str, Any]:
        """As the table holds it."""
        tags = [
            {
                "tag": t.name,
                "probability": round(t.probability, 4),
                **dict(zip(BOX, t.box, strict=True)),
            }
            for t in self.tags
        ]
        return {"image": self.image, "tags": tags, "error": self.error}

    def flat(self) -> list[str]:
        """For CSV: lists with semicolons; a window is left,top,right,bottom in pixels."""
        return [
            self.image,
            "; ".join(t.name for t in self.tags),
            "; ".join(f"{t.probability:.4f}" for t in self.tags),
            "; ".join(",".join(map(str, t.box)) for t in self.tags),
            self.error or "",
        ]


def write(path: Path, lines: Iterable[Line]) -> int:
    """Write all lines, whole or not at all; returns how many."""
    count = 0
    kinds = {".parquet": _parquet, ".csv": _csv, ".json": _json}
    with replacing(path) as draft, kinds[path.suffix](draft) as add:
        for line in lines:
            add(line)
            count += 1
    return count


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    with Writer(path, SCHEMA) as table:
        yield lambda line: table.add(**line.plain())


@contextmanager
def _csv(path: Path) -> Iterator[Any]:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        # A carriage return in a name would end its line.
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        rows.writerow(COLUMNS)

        def add(line: Line) -> None:
            fields = line.flat()
            (quoted if any("\r" in str(one) for one in fields) else rows).writerow(fields)

        yield add


@contextmanager
def _json(path: Path) -> Iterator[Any]:
    with path.open("w", encoding="utf-8") as file:
        before = "["

        def add(line: Line) -> None:
            nonlocal before
            file.write(f"{before}\n{json.dumps(line.plain(), ensure_ascii=False)}")
            before = ","

        yield add
        file.write("\n]\n" if before == "," else "[]\n")
