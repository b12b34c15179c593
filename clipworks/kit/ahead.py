"""Work that threads do a few items ahead of who takes the results."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

CORES = os.cpu_count() or 2
Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    begin: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Results in the order of the items, of which at most two for each thread wait in memory.

    Args:
        begin: what each thread does first.
    """
    with ThreadPoolExecutor(threads, initializer=begin) as pool:
        rest = iter(items)
        waiting = deque(pool.submit(work, item) for item in islice(rest, 2 * threads))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(rest, 1))
