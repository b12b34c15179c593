"""The dialogue that writes captions: feasibility, sentences, checks, in rounds."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clipworks.chat import engines
from clipworks.chat.journal import Journal
from clipworks.chat.params import Chat, Sampling
from clipworks.chat.request import (
    Engine,
    Reply,
    Request,
    Task,
    Template,
    ask_for,
    is_verdict,
    read_templates,
    says_true,
    spoken,
)
from clipworks.kit import runtime
from clipworks.kit.errors import InputError
from clipworks.writing.replies import items


@dataclass(frozen=True)
class Turn:
    """A request with its reply, as it goes into the table of replies."""

    source: str
    round: int
    request: Request
    reply: Reply
    keep: bool  # what a True/False answer said; True for sentences


@dataclass(frozen=True)
class Plan:
    """What to ask for one kind of captions."""

    source: str  # multi, single, challenge
    groups: Sequence[tuple[str, ...]]  # classes to appear together
    rounds: int
    sentences: int


class Dialogue:
    """Asks an engine through a journal."""

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        journal: Journal,
        templates: dict[str, Template],
        *,
        seed: int,
    ) -> None:
        self._make_engine = make_engine
        self._journal = journal
        self._templates = templates
        self._seed = seed
        self._understood = False  # whether any True/False question was answered so

    @cached_property
    def _engine(self) -> Engine:
        """Made at the first question, which may never come: a chat model takes long to load."""
        return self._make_engine()

    @property
    def asked(self) -> int:
        """Requests that the engine was asked, those from the journal not counted."""
        return self._journal.asked

    def compose(
        self, shown: Sequence[Sequence[str]], *, count: int, sampling: Sampling
    ) -> list[Turn]:
        """One question per round: which of the shown classes appear together."""
        requests = [
            self._request("compose", "compose", sampling, number, names=tuple(names), count=count)
            for number, names in enumerate(shown)
        ]
        replies = self._ask(requests, label="compose")
        return [
            Turn("compose", number, request, reply, True)
            for number, (request, reply) in enumerate(zip(requests, replies, strict=True))
        ]

    def caption(
        self,
        plan: Plan,
        *,
        feasibility: bool,
        check: bool,
        threshold: float,
        sampling: Sampling,
        verdict_sampling: Sampling,
    ) -> Iterator[Turn]:
        """The turns for one kind of captions; sentences of refused groups are never asked for.

        A verdict is True from a probability of `threshold` on.
        """
        if not plan.rounds:  # of what nobody writes about, nobody asks whether it can be
            return
        history: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {}
        groups = list(plan.groups)
        if feasibility:
            requests = [
                self._request("feasible", "feasible", verdict_sampling, 0, names=names)
                for names in groups
            ]
            groups = []
            for request, reply, keep in self._verdicts(
                requests, threshold, label=f"{plan.source}: feasible"
            ):
                yield Turn("feasible", 0, request, reply, keep)
                if keep:
                    groups.append(request.names)
                    history[request.names] = (*request.messages, ("assistant", spoken(reply.text)))
        asked = [
            self._request(
                "caption",
                f"caption_{plan.source}",
                sampling,
                number,
                names=names,
                count=plan.sentences,
                before=history.get(names, ()),
            )
            for names, number in itertools.product(groups, range(plan.rounds))
        ]
        replies = self._ask(asked, label=f"{plan.source}: sentences")
        for position, (request, reply) in enumerate(zip(asked, replies, strict=True)):
            yield Turn(plan.source, position % plan.rounds, request, reply, True)
        if check:
            yield from self._check(plan, asked, replies, threshold, verdict_sampling)

    def _check(
        self,
        plan: Plan,
        asked: list[Request],
        replies: list[Reply],
        threshold: float,
        sampling: Sampling,
    ) -> Iterator[Turn]:
        requests = [
            self._request(
                "check",
                "check",
                sampling,
                0,
                names=request.names,
                caption=item.text,
                before=(*request.messages, ("assistant", spoken(reply.text))),
            )
            for request, reply in zip(asked, replies, strict=True)
            for item in items(reply.text, finish=reply.finish)
        ]
        for request, verdict, keep in self._verdicts(
            requests, threshold, label=f"{plan.source}: check"
        ):
            yield Turn("check", 0, request, verdict, keep)

    def judge(
        self, captions: Sequence[str], *, threshold: float, sampling: Sampling
    ) -> list[tuple[Request, Reply, bool]]:
        """Whether each caption is distinguishable, concise and realistic."""
        requests = [self._request("judge", "judge", sampling, 0, caption=text) for text in captions]
        return self._verdicts(requests, threshold, label="judge")

    def _ask(self, requests: Sequence[Request], *, label: str) -> list[Reply]:
        return self._journal.ask(self._engine, requests, label=label) if requests else []

    def _verdicts(
        self, requests: Sequence[Request], threshold: float, *, label: str
    ) -> list[tuple[Request, Reply, bool]]:
        """Answers to True/False questions. One that says neither counts as False, and is told.

        Raises:
            InputError: none of them says either, and none has before.
        """
        replies = self._ask(requests, label=label)
        if unclear := [reply.text for reply in replies if not is_verdict(reply)]:
            told = (
                f"{label}: {len(unclear):,} of {len(replies):,} answers say neither True nor False, such as "
                f"{unclear[0][:80]!r}"
            )
            if len(unclear) == len(replies) and not self._understood:
                raise InputError(
                    f"{told}; give verdicts more max_tokens, switch thinking off (chat.openai.no_thinking), or "
                    f"mend the template that asks; where the server was at fault, move {self._journal.path} away, "
                    "which keeps these answers"
                )
            print(f"warning: {told}; they count as False")
        self._understood |= len(unclear) < len(replies)
        return [
            (request, reply, says_true(reply, threshold=threshold))
            for request, reply in zip(requests, replies, strict=True)
        ]

    def _request(
        self,
        task: Task,
        template: str,
        sampling: Sampling,
        number: int,
        *,
        before: tuple[tuple[str, str], ...] = (),
        names: tuple[str, ...] = (),
        count: int = 0,
        caption: str = "",
    ) -> Request:
        return ask_for(
            task,
            self._templates[template],
            sampling,
            seed=_seed_of(self._seed, number),
            before=before,
            names=names,
            count=count,
            caption=caption,
        )


def _seed_of(seed: int, number: int) -> int:
    """A request's own seed. Two seeds of the project share none: with their sum, round 1 of one would be
    round 0 of the next, with the same replies. (Seed 0 keeps the form that its journals have.)"""
    if seed == 0:
        return number
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big") >> 1


@contextmanager
def opened(
    stage: str,
    chat: Chat,
    stand_in: Callable[[], Engine],
    *,
    templates: Path,
    seed: int,
) -> Iterator[Dialogue]:
    """A stage's dialogue: the engine that chat.engine names, its journal, and what it all cost.

    The journal lies in the project's own folder, which all experiments share and no cleaning deletes:
    replies may have cost money.
    """
    journal = runtime.project_root() / "journal" / f"{stage}.sqlite"
    with runtime.measured(stage) as facts, Journal(journal) as kept:
        talk = Dialogue(
            lambda: engines.make(chat, stand_in), kept, read_templates(templates), seed=seed
        )
        yield talk
        facts["asked"] = talk.asked
