"""Category combinations: whom to show to the chat model, and reading its answer."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipworks.kit.errors import InputError
from clipworks.writing.labels import Labeller
from clipworks.writing.replies import items


def draw_rounds(
    class_names: Sequence[str], *, rounds: int, shown: int, seed: int
) -> list[list[str]]:
    """Which classes each round shows: all of them early, and every pair as far as rounds allow.

    Each round begins with the class shown least so far and adds, one by one, the class that met the
    ones already there least often; ties fall at random.

    Returns:
        `rounds` lists of `shown` names (of all names, in random order, where there are fewer).
    """
    rng = np.random.default_rng(seed)
    count = len(class_names)
    met = np.zeros((count, count))
    times = np.zeros(count)
    drawn = []
    for _ in range(rounds):
        chance = rng.random(count)
        chosen = [int(np.lexsort((chance, times))[0])]
        while len(chosen) < min(shown, count):
            burden = met[chosen].sum(axis=0)
            burden[chosen] = np.inf
            chosen.append(int(np.lexsort((chance, times, burden))[0]))
        met[np.ix_(chosen, chosen)] += 1
        times[chosen] += 1
        drawn.append([class_names[i] for i in rng.permutation(chosen)])
    return drawn


def read_reply(
    reply: str, shown: Sequence[str], labeller: Labeller, *, finish: str = "stop"
) -> tuple[list[tuple[str, ...]], dict[str, int]]:
    """Combinations that a reply proposes, in the class list's order, and how many lines gave none.

    A line gives the combination of those shown classes that it mentions; what stands behind a colon
    ("person, dog: in a park") is explanation only where names come before it.
    """
    found: list[tuple[str, ...]] = []
    dropped = {"fewer_than_two": 0, "not_shown": 0}
    for item in items(reply, finish=finish):
        head = item.text.split(":")[0]
        indices = labeller.label(head)
        if len(indices) < 2:
            indices = labeller.label(item.text)
        named = [labeller.class_names[i] for i in indices]
        kept = tuple(name for name in named if name in shown)
        dropped["not_shown"] += len(named) - len(kept)
        if len(kept) < 2:
            dropped["fewer_than_two"] += 1
            continue
        found.append(kept)
    return found, dropped


class Collection:
    """Distinct combinations in the order in which they came, and what was none."""

    def __init__(self) -> None:
        self._count: dict[tuple[str, ...], int] = {}
        self._dropped = {"fewer_than_two": 0, "not_shown": 0}

    def add(self, groups: Iterable[tuple[str, ...]], dropped: dict[str, int] | None = None) -> None:
        """Count what one reply gave."""
        for group in groups:
            self._count[group] = self._count.get(group, 0) + 1
        for reason, count in (dropped or {}).items():
            self._dropped[reason] += count

    @property
    def groups(self) -> list[list[str]]:
        """The combinations, each once."""
        return [list(group) for group in self._count]

    def check(self, replies: Path) -> None:
        """Raises InputError where no combination was found at all: nothing later could do without."""
        if not self._count:
            raise InputError(
                f"compose: no combination of two classes was found (lines with fewer: {self._dropped['fewer_than_two']}; "
                f"names that were not shown to the model: {self._dropped['not_shown']}); {replies} holds what it said, "
                "one combination a line being expected; one that only thinks needs more compose.sampling.max_tokens or "
                "chat.openai.no_thinking"
            )

    def metrics(self) -> dict[str, Any]:
        """Numbers for `dvc metrics`."""
        return {
            "combinations": len(self._count),
            "repeats": sum(self._count.values()) - len(self._count),
            "dropped_lines": self._dropped,
        }
