"""Full disks, and a full GPU: every way in which libraries say it."""

import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bad_outputs import ENCODED, STORED
from bad_world import World, wrong
from safetensors import SafetensorError

FULL = (
    r"^error: the disk is full \(.*(space|disk|requested|quota).*; this folder's has [\d.,]+ GiB free\); make room here "
    r"\(`dvc gc -A --all-experiments` drops what no commit and no experiment needs\), or where the output goes if "
    r"that is another disk, and run again$"
)


def no_room(*arguments: object, **options: object) -> Any:
    """What a writer meets on a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device")


@wrong("a full disk under a JSON file", FULL)
def _(world: World) -> None:
    world.patch.setattr(Path, "write_text", no_room)
    world.stage("check")


@wrong("a full disk under a table", FULL, stage="caption", place="pyarrow.parquet.ParquetWriter")
@wrong(
    "a full disk under encoded captions", FULL, stage="encode_captions", place="os.posix_fallocate"
)
@wrong("a full disk under a picture", FULL, stage="evaluate", place="PIL.Image.Image.save")
def _(world: World, stage: str, place: str) -> None:
    world.take("data/compose", "data/filter", *ENCODED, *STORED, "data/ensemble")
    world.patch.setattr(place, no_room)
    world.stage(stage)


def failing(error: Exception) -> Callable[..., None]:
    """A main that meets a library's error."""

    def main(world: World) -> None:
        raise error

    return main


wrong("a full disk under tensors", FULL)(
    failing(
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    )
)
wrong("a full disk under the journal", FULL)(
    failing(sqlite3.OperationalError("database or disk is full"))
)
wrong("a full disk under an array", FULL)(failing(OSError("1000000 requested and 25584 written")))
wrong("a quota that is used up", FULL)(failing(OSError(errno.EDQUOT, "Disk quota exceeded")))
wrong(
    "a full GPU",
    r"^error: the GPU's memory is full \(CUDA out of memory\. Tried to allocate 2 GiB\.\); take a smaller "
    r"batch_size \(--batch-size\), or end what else uses it, and run again: what is finished stays$",
)(failing(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee")))
