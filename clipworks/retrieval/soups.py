"""Soups: weights of several fine-tuned models in one (Wortsman et al., arXiv:2203.05482)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from torch import Tensor

from clipworks.kit import tables, tensors
from clipworks.kit.errors import InputError
from clipworks.kit.places import replacing

State = dict[str, Tensor]


class Mean:
    """A running mean of states, in float64; what is no floating-point number is the first one's."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: State = {}

    def added(self, state: State) -> "Mean":
        """A new mean with one state more; this one stays as it is."""
        new = Mean()
        new._count = self._count + 1
        new._sum = {
            name: (self._sum[name] if self._count else 0) + value.double()
            if value.is_floating_point()
            else self._sum.get(name, value)
            for name, value in state.items()
        }
        return new

    def state(self) -> State:
        """The mean."""
        return {
            name: value / self._count if value.is_floating_point() else value
            for name, value in self._sum.items()
        }


@dataclass(frozen=True)
class Tried:
    """One step of the greedy soup."""

    member: int
    value: float  # of the mean of the accepted ones and this one
    accepted: bool


def remembered(judge: Callable[[State], float], path: Path) -> Callable[[State], float]:
    """A judge whose answers lie in a file: a run that was killed asks in the same order, and what was
    answered is not worked out again."""
    answers: list[float] = tables.read_json(path, list[float]) if path.exists() else []
    place = count()

    def answer(state: State) -> float:
        if (now := next(place)) == len(answers):
            answers.append(judge(state))
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as draft:
                tables.write_json(draft, answers)
        return answers[now]

    return answer


def uniform(states: Sequence[Callable[[], State]]) -> State:
    """The mean of all."""
    mean = Mean()
    for load in states:
        mean = mean.added(load())
    return mean.state()


def greedy(
    states: Sequence[Callable[[], State]],
    values: Sequence[float],
    judge: Callable[[State], float],
) -> tuple[list[int], list[Tried]]:
    """The best first; each other one joins if the mean of the members gets strictly better by it.

    Args:
        states: load one state each, so that few are in memory.
        values: how good each is alone, by `judge`.

    Returns:
        the members, whose mean in this order is the soup, and what was tried.
    """
    order = sorted(range(len(states)), key=lambda i: (-values[i], i))
    mean, members, best = Mean().added(states[order[0]]()), [order[0]], values[order[0]]
    tried = []
    for member in order[1:]:
        wider = mean.added(states[member]())
        value = judge(wider.state())
        tried.append(Tried(member, value, value > best))
        if value > best:
            mean, best = wider, value
            members.append(member)
    return members, tried


def read(path: Path, other: State) -> State:
    """An epoch's weights.

    Raises:
        InputError: they are of another model than `other`.
    """
    state: State = tensors.read(path, framework="pt")
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in other.items()}:
        raise InputError(f"{path} holds weights of another model; run `dvc repro finetune`")
    return state


def like(state: State, other: State) -> State:
    """A state in the number formats of another."""
    return {name: value.to(other[name].dtype) for name, value in state.items()}
