"""Captions: several classes together, each class alone, and the hard ones again."""

from pathlib import Path

from clipworks import runtime, tables, transcript
from clipworks.chat import engines, replay
from clipworks.chat.journal import Journal
from clipworks.chat.request import Sampling, read_templates
from clipworks.classes import read_classes
from clipworks.cli import run
from clipworks.dialogue import Dialogue, Plan, challenge_groups
from clipworks.params import load
from clipworks.params.base import Base
from clipworks.params.caption import Caption
from clipworks.params.chat import Chat

TEMPLATES = Path("data/templates")
COMBINATIONS = Path("data/compose/combinations.json")
JOURNAL = Path("scratch/journal/caption.sqlite")
OUT = Path("data/caption/replies.parquet")


def main() -> None:
    """Write every prompt and raw reply; the filter stage reads sentences out of them."""
    base, chat, params = load("base", Base), load("chat", Chat), load("caption", Caption)
    names = read_classes(Path(base.classes))
    if unknown := sorted(set(params.challenge_classes) - set(names)):
        raise ValueError(
            f"params.yaml: section 'caption', key 'challenge_classes': {unknown} are not in "
            f"{base.classes}; name hard classes of that list, or none: []"
        )
    groups = [tuple(group) for group in tables.read_json(COMBINATIONS)][
        : params.combinations or None
    ]
    with runtime.measured("caption") as facts, tables.Writer(OUT, transcript.REPLIES) as out:
        if chat.engine == "replay":
            for recording in replay.recordings(Path(chat.replay.folder)):
                out.add(**transcript.recording_row(recording))
        else:
            hard = challenge_groups(groups, params.challenge_classes)
            plans = (
                Plan("multi", groups, params.multi_rounds, params.multi_sentences),
                Plan(
                    "single",
                    [(name,) for name in names],
                    params.single_rounds,
                    params.single_sentences,
                ),
                Plan("challenge", hard, params.challenge_rounds, params.challenge_sentences),
            )
            with Journal(JOURNAL) as journal:
                dialogue = Dialogue(
                    engines.make(chat),
                    journal,
                    read_templates(TEMPLATES),
                    seed=base.seed,
                    threshold=0.5,
                )
                for plan in plans:
                    turns = dialogue.caption(
                        plan,
                        feasibility=params.feasibility and plan.source != "single",
                        check=params.check,
                        sampling=Sampling(**params.sampling.model_dump()),
                        verdict_sampling=Sampling(**params.verdict_sampling.model_dump()),
                    )
                    for turn in turns:
                        out.add(**transcript.reply_row(turn))
                facts["asked"] = journal.asked
    print(f"caption: {out.count:,} replies -> {OUT}")


if __name__ == "__main__":
    run(main)
