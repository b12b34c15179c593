"""Embedding on a Ray cluster: the same parts as here, made by actors that hold the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipworks.search import embedding
from clipworks.search.embedding import Embedder, Job
from clipworks.search.shelf import Entry
from clipworks.tagging import ray_engine
from clipworks.tagging.sources import Unit


class Worker:
    """An actor: loads the model once, then makes parts."""

    def __init__(self, word: str, batch_size: int) -> None:
        self._embedder = Embedder.named(word, batch_size, "auto")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Embed one job's images."""
        unit = Unit(row["kind"], Path(row["path"]), tuple(row["names"]), int(row["group"]))
        entries = tuple(Entry(**one) for one in row["entries"])
        if not Path(row["part"]).exists():
            embedding.embed(self._embedder, Job(unit, entries), Path(row["part"]))
        return {"part": row["part"]}


def spread(jobs: Sequence[Job], parts: Path, word: str, *, batch_size: int, workers: int) -> None:
    """Embed with a pool of actors; sources, index and model must have the same paths on all machines.

    Raises:
        InputError: Ray is not installed.
    """
    parts.mkdir(parents=True, exist_ok=True)
    ray_engine.spread(rows(jobs, parts), Worker, (word, batch_size), workers=workers, label="embed")


def rows(jobs: Sequence[Job], parts: Path) -> list[dict[str, Any]]:
    """What actors are handed: jobs that are not done yet, with absolute paths."""
    return [
        {
            "kind": job.unit.kind,
            "path": str(job.unit.path.resolve()),
            "names": list(job.unit.names),
            "group": job.unit.group,
            "entries": [vars(one) for one in job.entries],
            "part": str((parts / job.name).resolve()),
        }
        for job in jobs
        if not (parts / job.name).exists()
    ]
