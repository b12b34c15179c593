"""From raw replies to labelled captions: rules, labels, judge, with a reason for every rejection."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from clipworks.kit.errors import InputError
from clipworks.kit.params import GENERATED
from clipworks.kit.tables import Writer
from clipworks.writing.dialogue import Dialogue, Turn
from clipworks.writing.labels import Labeller
from clipworks.writing.params import Filter
from clipworks.writing.replies import items
from clipworks.writing.rules import Duplicates, reject
from clipworks.writing.transcript import reply_row

JUDGED_AT_ONCE = 5_000  # captions: keeps memory flat

Judge = Callable[[Sequence[str]], list[bool]]


@dataclass(frozen=True)
class Candidate:
    """A sentence of a reply, with its labels once it has passed the rules, or why it was rejected."""

    caption: str
    source: str
    names: tuple[str, ...]
    labels: tuple[int, ...] = ()
    reason: str | None = None


def candidates(
    replies: Iterable[dict[str, Any]], *, min_length: int, max_length: int
) -> Iterator[Candidate]:
    """Every sentence of every reply to a caption request, with the verdict of the rules."""
    for row in replies:
        if row["source"] not in GENERATED:
            continue
        names = tuple(row["names"])
        found = items(row["reply"], finish=row["finish"])
        if not found:
            yield Candidate("", row["source"], names, reason="empty")
        for item in found:
            reason = reject(item.text, cut=item.cut, min_length=min_length, max_length=max_length)
            yield Candidate(item.text, row["source"], names, reason=reason)


def label(
    found: Iterable[Candidate],
    labeller: Labeller,
    *,
    refused: set[tuple[tuple[str, ...], str]] | None = None,
) -> Iterator[Candidate]:
    """Reject duplicates, what a check refused, and what names no class; label the others."""
    seen = Duplicates()
    for candidate in found:
        if candidate.reason is not None:
            yield candidate
            continue
        reason: str | None = None
        labels: list[int] = []
        if not seen.add(candidate.caption):
            reason = "duplicate"
        elif refused and (candidate.names, candidate.caption) in refused:
            reason = "checked_false"
        else:
            labels = labeller.label(candidate.caption)
            reason = None if labels else "no_class"
        yield Candidate(candidate.caption, candidate.source, candidate.names, tuple(labels), reason)


def judged(found: Iterable[Candidate], judge: Judge | None) -> Iterator[Candidate]:
    """Let a chat model judge what is left, some thousands at a time."""
    if judge is None:
        yield from found
        return
    stream = iter(found)
    while part := list(islice(stream, JUDGED_AT_ONCE)):
        verdicts = iter(judge([c.caption for c in part if c.reason is None]))
        for candidate in part:
            if candidate.reason is None and not next(verdicts):
                yield Candidate(
                    candidate.caption, candidate.source, candidate.names, reason="judged_false"
                )
            else:
                yield candidate


class Tally:
    """Counts for the metrics of the filter stage."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._names = list(class_names)
        self.candidates = 0
        self.kept = 0
        self.asked = 0  # kept captions for which it is known what was asked for
        self.complete = 0  # those that name all of it
        self.reasons: Counter[str] = Counter()
        self.per_class: Counter[int] = Counter()
        self.per_source: Counter[str] = Counter()
        self.labels_per_caption: Counter[int] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, candidate: Candidate) -> None:
        """Count one candidate."""
        self.candidates += 1
        if candidate.reason is not None:
            self.reasons[candidate.reason] += 1
            examples = self.examples.setdefault(candidate.reason, [])
            if len(examples) < 5 and candidate.caption not in examples:
                examples.append(candidate.caption)
            return
        self.kept += 1
        self.per_source[candidate.source] += 1
        self.per_class.update(candidate.labels)
        self.labels_per_caption[len(candidate.labels)] += 1
        asked = {self._names.index(name) for name in candidate.names if name in self._names}
        self.asked += bool(asked)
        self.complete += bool(asked) and asked <= set(candidate.labels)

    def metrics(self) -> dict[str, Any]:
        """Flat numbers for `dvc metrics`."""
        total = max(self.candidates, 1)
        labels = sum(count * n for n, count in self.labels_per_caption.items())
        return {
            "candidates": self.candidates,
            "kept": self.kept,
            "kept_share": round(self.kept / total, 4),
            "names_all_asked_share": round(self.complete / self.asked, 4) if self.asked else None,
            "labels_per_caption": round(labels / max(self.kept, 1), 3),
            "fewest_captions_of_a_class": min(self.class_counts().values()),
            "rejected": {reason: count for reason, count in sorted(self.reasons.items())},
            "kept_by_source": dict(sorted(self.per_source.items())),
        }

    def class_counts(self) -> dict[str, int]:
        """Captions per class, in the class list's order."""
        return {name: self.per_class[i] for i, name in enumerate(self._names)}

    def report(self) -> dict[str, Any]:
        """What the report page shows."""
        return {
            "class_counts": self.class_counts(),
            "metrics": self.metrics(),
            "reasons": self.reasons.most_common(),
            "examples": self.examples,
        }

    def check_classes(self) -> None:
        """Raises InputError naming the classes that no caption names."""
        if empty := [name for name, count in self.class_counts().items() if count == 0]:
            raise InputError(
                f"no caption names {empty}: give them synonyms (base.synonyms), more rounds "
                "(caption.single_rounds; a recording has no more) or look at what was rejected (data/filter/rejected.parquet)"
            )


def refused(replies: Iterable[dict[str, Any]]) -> set[tuple[tuple[str, ...], str]]:
    """(asked names, sentence) of every sentence that the dialogue's own check refused."""
    return {
        (tuple(row["names"]), row["caption"])
        for row in replies
        if row["source"] == "check" and not row["keep"]
    }


def judge_with(dialogue: Dialogue, params: Filter, verdicts: Writer) -> Judge:
    """A judge that keeps every question and answer."""
    threshold, sampling = params.judge_threshold, params.sampling

    def judge(captions: Sequence[str]) -> list[bool]:
        kept = []
        for request, reply, keep in dialogue.judge(
            captions, threshold=threshold, sampling=sampling
        ):
            verdicts.add(**reply_row(Turn("judge", 0, request, reply, keep)))
            kept.append(keep)
        return kept

    return judge


def write(candidate: Candidate, kept: Writer, rejected: Writer) -> None:
    """Put a candidate into the table where it belongs."""
    row = {"caption": candidate.caption, "source": candidate.source, "names": list(candidate.names)}
    if candidate.reason is None:
        kept.add(**row, labels=list(candidate.labels))
    else:
        rejected.add(**row, reason=candidate.reason)
