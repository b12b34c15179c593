"""Captions: several classes together, each class alone, and the hard ones again."""

from pathlib import Path

from clipworks.chat import replay
from clipworks.chat.params import Chat
from clipworks.kit import tables
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.params import Base, load
from clipworks.miniature.grammar import GrammarEngine
from clipworks.writing import dialogue, transcript
from clipworks.writing.params import Caption
from clipworks.writing.plans import plans

TEMPLATES = Path("data/templates")
COMBINATIONS = Path("data/compose/combinations.json")
OUT = Path("data/caption/replies.parquet")


def main() -> None:
    """Write every prompt and raw reply; the filter stage reads sentences out of them."""
    base, chat, params = load("base", Base), load("chat", Chat), load("caption", Caption)
    names = read_classes(Path(base.classes))
    groups = [tuple(group) for group in tables.read_json(COMBINATIONS, list[list[str]])]
    with (
        tables.Writer(OUT, transcript.REPLIES) as out,
        dialogue.opened(
            "caption", chat, GrammarEngine, templates=TEMPLATES, seed=base.seed
        ) as talk,
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
    print(f"caption: {out.count:,} replies -> {OUT}")


if __name__ == "__main__":
    stage(main)
