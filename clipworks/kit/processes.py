"""Many small jobs on the cores of this machine."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from tqdm import tqdm

Result = TypeVar("Result")
FEW = 400  # a process takes seconds to start, in which so many pictures are painted


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
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield from pool.map(work, *columns, chunksize=FEW // 4)

    return list(tqdm(done(), total=len(columns[0]), desc=what, unit="image", mininterval=1))
