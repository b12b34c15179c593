"""Tagging on a Ray cluster: the same parts as here, made by actors that hold the model.

Ray Data reads units as rows, hands them to a pool of actors as they become free (back-pressure is its
own), and restarts an actor that died. Each finished unit is a part on a disk that all machines see, so
a killed run goes on by unit, as without Ray, and the table is made from the same parts.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from clipworks.clip import pretrained
from clipworks.kit.errors import InputError
from clipworks.tagging import job
from clipworks.tagging.eye import Seeing
from clipworks.tagging.job import Parts
from clipworks.tagging.sources import Unit
from clipworks.tagging.tagger import Tagger


class Worker:
    """An actor: loads the tagger once, then makes parts."""

    def __init__(
        self, tagger: str, backbone: str, seeing: Seeing, batch_size: int, precision: str
    ) -> None:
        made = Tagger.load(tagger, backbone)
        self._eye = made.eye(seeing, batch_size=batch_size, precision=precision)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Look at one unit and write its part; says how many images it had."""
        shown = Path(row["shown"])
        unit = Unit(row["kind"], Path(row["path"]), tuple(row["names"]), int(row["group"]), shown)
        path = Path(row["part"])
        if not path.exists():
            job.write_part(path, *job.look(self._eye, unit))
        return {"part": row["part"], "images": job.count(path)}


def check(option: str) -> None:
    """Raises InputError, with the option that asks for it, where Ray is not installed."""
    try:
        import ray.data  # noqa: F401  (not ray alone: any folder of that name would do for it)
    except ImportError:
        raise InputError(f"{option}: Ray is not installed; `pip install 'ray[data]'`") from None


def judge(
    tagger: Tagger, units: Sequence[Unit], out: Path, seeing: Seeing, *, batch_size: int, precision: str,
    workers: int,
) -> Parts:  # fmt: skip
    """Look at all images with a pool of actors; RAY_ADDRESS names a cluster, without it this machine is one.

    The sources, the table's folder and the backbone must have the same paths on all machines.

    """
    out = out.resolve()
    parts = job.plan(tagger, units, out, seeing, precision)
    saved = parts.folder / job.SAVED
    tagger.save(saved)
    backbone = pretrained.absolute(tagger.about.backbone)
    rows = [
        {"kind": unit.kind, "path": str(unit.path.resolve()), "shown": str(unit.path),
         "names": list(unit.names), "group": unit.group, "part": str(path)}
        for unit, path in zip(units, parts.files, strict=True)
        if not path.exists()
    ]  # fmt: skip
    arguments = (str(saved), backbone, seeing, batch_size, precision)
    spread(rows, Worker, arguments, workers=workers, label="tag")
    return parts


def spread(
    rows: Sequence[dict[str, Any]], worker: type, arguments: tuple[Any, ...], *, workers: int, label: str
) -> None:  # fmt: skip
    """Hand rows to a pool of actors as they become free.

    Args:
        worker: a class whose objects take a row; made once an actor, of `arguments`.
    """
    if not rows:
        return
    import ray.data

    # Data of another machine's working folder would be read by relative names; all here are absolute.
    ray.init(ignore_reinit_error=True, log_to_driver=False, configure_logging=False,
             runtime_env={"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}})  # fmt: skip
    made = ray.data.from_items(list(rows), override_num_blocks=len(rows)).map(
        worker,
        fn_constructor_args=arguments,
        concurrency=workers,
        num_gpus=1 if ray.cluster_resources().get("GPU") else 0,
    )
    with tqdm(total=len(rows), desc=label, unit="part", mininterval=1) as bar:
        for _ in made.iter_rows():
            bar.update()
