"""Many small jobs on the cores of this machine."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

from tqdm import tqdm

Result = TypeVar("Result")
FEW = 400  # a process takes seconds to start, in which so many pictures are painted


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def spread(
    work: Callable[..., Result], *columns: Sequence[Any], what: str, workers: int = 2
) -> list[Result]:
    """What `work` makes of the first item of every column, of the second ones and so on, in order.

    Args:
        work: a function of a module, or a partial of one; few jobs are done in this process.
        what: what it does, for the progress bar.
    """

    def done() -> Iterator[Result]:
        if len(columns[0]) < FEW:
            yield from map(work, *columns)
            return
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
            yield from pool.map(work, *columns, chunksize=FEW // 4)

    return list(tqdm(done(), total=len(columns[0]), desc=what, unit="image", mininterval=1))
