"""Captions worth training on: rules, labels by synonyms and lemmas, then the judge."""

from pathlib import Path

from clipworks import filtering, plots, runtime, tables, transcript
from clipworks.chat import engines
from clipworks.chat.journal import Journal
from clipworks.chat.request import Sampling, read_templates
from clipworks.classes import read_classes, read_synonyms
from clipworks.cli import run
from clipworks.dialogue import Dialogue
from clipworks.labels import Labeller
from clipworks.params import load
from clipworks.params.base import Base
from clipworks.params.chat import Chat
from clipworks.params.filter import Filter

TEMPLATES = Path("data/templates")
REPLIES = Path("data/caption/replies.parquet")
JOURNAL = Path("scratch/journal/filter.sqlite")
OUT = Path("data/filter")


def main() -> None:
    """Write kept captions, rejected ones with their reasons, verdicts, metrics and a report."""
    base, chat, params = load("base", Base), load("chat", Chat), load("filter", Filter)
    names = read_classes(Path(base.classes))
    labeller = Labeller(names, read_synonyms(Path(base.synonyms)))
    tally = filtering.Tally(names)
    with (
        runtime.measured("filter") as facts,
        Journal(JOURNAL) as journal,
        tables.Writer(OUT / "captions.parquet", transcript.CAPTIONS) as kept,
        tables.Writer(OUT / "rejected.parquet", transcript.REJECTED) as rejected,
        tables.Writer(OUT / "replies.parquet", transcript.REPLIES) as verdicts,
    ):
        judge = None
        if params.judge:
            dialogue = Dialogue(
                engines.make(chat),
                journal,
                read_templates(TEMPLATES),
                seed=base.seed,
                threshold=params.judge_threshold,
            )
            judge = filtering.judge_with(
                dialogue, Sampling(**params.sampling.model_dump()), verdicts
            )
        found = filtering.candidates(
            tables.rows(REPLIES), min_length=params.min_length, max_length=params.max_length
        )
        labelled = filtering.label(found, labeller, refused=filtering.refused(tables.rows(REPLIES)))
        for candidate in filtering.judged(labelled, judge):
            tally.add(candidate)
            filtering.write(candidate, kept, rejected)
        facts["asked"] = journal.asked
    tables.write_json(OUT / "metrics.json", tally.metrics())
    plots.filter_report(
        OUT,
        class_counts=tally.class_counts(),
        metrics=tally.metrics(),
        reasons=tally.reasons.most_common(),
        examples=tally.examples,
    )
    tally.check_classes()
    print(f"filter: {tally.kept:,} of {tally.candidates:,} sentences kept -> {OUT}")


if __name__ == "__main__":
    run(main)
