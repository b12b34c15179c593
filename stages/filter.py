"""Captions worth training on: rules, labels by names and synonyms, then the judge."""

from pathlib import Path

from clipworks.chat.params import Chat
from clipworks.kit import tables
from clipworks.kit.classes import read_classes, read_synonyms
from clipworks.kit.cli import stage
from clipworks.kit.params import Base, load
from clipworks.kit.tensors import about
from clipworks.miniature.grammar import GrammarEngine
from clipworks.writing import dialogue, filtering, page, transcript
from clipworks.writing.inflections import warnings
from clipworks.writing.labels import Labeller
from clipworks.writing.params import Filter

TEMPLATES = Path("data/templates")
REPLIES = Path("data/caption/replies.parquet")
OUT = Path("data/filter")


def main() -> None:
    """Write kept captions, rejected ones with their reasons, verdicts, metrics and a report."""
    base, chat, params = load("base", Base), load("chat", Chat), load("filter", Filter)
    names = read_classes(Path(base.classes))
    tables.parquet(REPLIES).close()  # there, and whole, before anything is written
    labeller = Labeller(names, read_synonyms(Path(base.synonyms)))
    for line in warnings(names):
        print(f"filter: warning: {line}")
    tally, columns = filtering.Tally(names), transcript.REPLIES.names
    with (
        tables.Writer(OUT / "captions.parquet", transcript.CAPTIONS, about(names)) as kept,
        tables.Writer(OUT / "rejected.parquet", transcript.REJECTED) as rejected,
        tables.Writer(OUT / "replies.parquet", transcript.REPLIES) as verdicts,
        dialogue.opened("filter", chat, GrammarEngine, templates=TEMPLATES, seed=base.seed) as talk,
    ):
        found = filtering.candidates(
            tables.rows(REPLIES, columns),
            min_length=params.min_length,
            max_length=params.max_length,
        )
        refused = filtering.refused(tables.rows(REPLIES, columns))
        labelled = filtering.label(found, labeller, refused=refused)
        judge = filtering.judge_with(talk, params, verdicts) if params.judge else None
        for candidate in filtering.judged(labelled, judge):
            tally.add(candidate)
            filtering.write(candidate, kept, rejected)
    tables.write_json(OUT / "metrics.json", tally.metrics())
    page.filter_report(OUT, **tally.report())
    tally.check_classes()
    print(f"filter: {tally.kept:,} of {tally.candidates:,} sentences kept -> {OUT}")


if __name__ == "__main__":
    stage(main)
