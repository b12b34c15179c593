"""Which classes may appear together: ask the chat model about ten at a time."""

from pathlib import Path

from clipworks import combinations, runtime, tables, transcript
from clipworks.chat import engines, replay
from clipworks.chat.journal import Journal
from clipworks.chat.request import Sampling, read_templates
from clipworks.classes import misspelt, read_classes, read_synonyms
from clipworks.cli import run
from clipworks.dialogue import Dialogue
from clipworks.labels import Labeller
from clipworks.params import load
from clipworks.params.base import Base
from clipworks.params.chat import Chat
from clipworks.params.compose import Compose

TEMPLATES = Path("data/templates")
JOURNAL = Path("scratch/journal/compose.sqlite")
OUT = Path("data/compose")


def main() -> None:
    """Write the distinct combinations and every raw reply."""
    base, chat, params = load("base", Base), load("chat", Chat), load("compose", Compose)
    names = read_classes(Path(base.classes))
    synonyms = read_synonyms(Path(base.synonyms))
    if odd := misspelt(synonyms, names):
        print(f"compose: warning: {base.synonyms} lists {', '.join(odd)}, which are no classes")
    labeller = Labeller(names, synonyms)
    found: dict[tuple[str, ...], int] = {}
    dropped: dict[str, int] = {"fewer_than_two": 0, "not_shown": 0}
    with (
        runtime.measured("compose") as facts,
        tables.Writer(OUT / "replies.parquet", transcript.REPLIES) as out,
    ):
        if chat.engine == "replay":
            for group in replay.combinations(Path(chat.replay.folder), names):
                found[group] = found.get(group, 0) + 1
        else:
            shown = combinations.draw_rounds(
                names, rounds=params.rounds, shown=params.shown, seed=base.seed
            )
            with Journal(JOURNAL) as journal:
                dialogue = Dialogue(
                    engines.make(chat),
                    journal,
                    read_templates(TEMPLATES),
                    seed=base.seed,
                    threshold=0.5,
                )
                sampling = Sampling(**params.sampling.model_dump())
                for turn in dialogue.compose(shown, count=params.count, sampling=sampling):
                    out.add(**transcript.reply_row(turn))
                    groups, lost = combinations.read_reply(
                        turn.reply.text, turn.request.names, labeller, finish=turn.reply.finish
                    )
                    for group in groups:
                        found[group] = found.get(group, 0) + 1
                    dropped = {key: dropped[key] + lost[key] for key in dropped}
                facts["asked"] = journal.asked
    tables.write_json(OUT / "combinations.json", [list(group) for group in found])
    metrics = {
        "combinations": len(found),
        "repeats": sum(found.values()) - len(found),
        "dropped_lines": dropped,
    }
    tables.write_json(OUT / "metrics.json", metrics)
    print(f"compose: {len(found):,} distinct combinations of {len(names)} classes -> {OUT}")


if __name__ == "__main__":
    run(main)
