"""Captions: several classes together, each class alone, and the hard ones again."""

from pathlib import Path

from clipworks import dialogue, runtime, tables, transcript
from clipworks.chat import replay
from clipworks.classes import read_classes
from clipworks.cli import run
from clipworks.params import load
from clipworks.params.base import Base
from clipworks.params.caption import Caption
from clipworks.params.chat import Chat
from clipworks.plans import plans

TEMPLATES = Path("data/templates")
COMBINATIONS = Path("data/compose/combinations.json")
JOURNAL = Path("scratch/journal/caption.sqlite")
OUT = Path("data/caption/replies.parquet")


def main() -> None:
    """Write every prompt and raw reply; the filter stage reads sentences out of them."""
    base, chat, params = load("base", Base), load("chat", Chat), load("caption", Caption)
    names = read_classes(Path(base.classes))
    groups = [tuple(group) for group in tables.read_json(COMBINATIONS)]
    with (
        runtime.measured("caption") as facts,
        tables.Writer(OUT, transcript.REPLIES) as out,
        dialogue.opened(chat, TEMPLATES, JOURNAL, seed=base.seed) as talk,
    ):
        if chat.engine == "replay":
            for recording in replay.recordings(Path(chat.replay.folder)):
                out.add(**transcript.recording_row(recording))
        else:
            for plan in plans(params, names, groups):
                turns = talk.caption(
                    plan,
                    feasibility=params.feasibility and plan.source != "single",
                    check=params.check,
                    threshold=params.verdict_threshold,
                    sampling=params.sampling,
                    verdict_sampling=params.verdict_sampling,
                )
                for turn in turns:
                    out.add(**transcript.reply_row(turn))
        facts["asked"] = talk.asked
    print(f"caption: {out.count:,} replies -> {OUT}")


if __name__ == "__main__":
    run(main)
