"""Timing two ways in turn, so that a drifting machine drifts for both."""

import argparse
import json
import statistics
import time
from collections.abc import Callable


def options(about: str) -> argparse.Namespace:
    """The command line that all benches share."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--full", action="store_true", help="the real size instead of the quick form"
    )
    parser.add_argument("--images", default="", help="a folder of images (inference)")
    return parser.parse_args()


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternate(
    slow: Callable[[], object], fast: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Median seconds of both ways, run in turn; the fast way is warmed up once before."""
    fast()
    times = [(seconds(slow), seconds(fast)) for _ in range(repeats)]
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def report(name: str, slow: float, fast: float, **facts: object) -> None:
    """The JSON line: ratio, both medians in seconds, and the sizes."""
    figures = {"ratio": round(slow / fast, 2), "slow_s": round(slow, 4), "fast_s": round(fast, 4)}
    print(json.dumps({"name": name, **figures, **facts}))
