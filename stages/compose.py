"""Which classes may appear together: ask the chat model about ten at a time."""

from pathlib import Path

from clipworks.chat import replay
from clipworks.chat.params import Chat
from clipworks.kit import tables
from clipworks.kit.classes import read_classes, read_synonyms
from clipworks.kit.cli import stage
from clipworks.kit.params import Base, load
from clipworks.miniature.grammar import GrammarEngine
from clipworks.writing import combinations, dialogue, transcript
from clipworks.writing.labels import Labeller
from clipworks.writing.params import Compose

TEMPLATES = Path("data/templates")
OUT = Path("data/compose")


def main() -> None:
    """Write the distinct combinations and every raw reply."""
    base, chat, params = load("base", Base), load("chat", Chat), load("compose", Compose)
    names = read_classes(Path(base.classes))
    synonyms = read_synonyms(Path(base.synonyms))
    labeller = Labeller(names, synonyms)
    found = combinations.Collection()
    with (
        tables.Writer(OUT / "replies.parquet", transcript.REPLIES) as out,
        dialogue.opened(
            "compose", chat, GrammarEngine, templates=TEMPLATES, seed=base.seed
        ) as talk,
    ):
        if chat.engine == "replay":
            groups, others = replay.combinations(Path(chat.replay.folder), names)
            found.add(groups, {"fewer_than_two": others})
            if others:
                print(
                    f"compose: {others:,} more of the recordings name fewer than two of the classes"
                )
        else:
            shown = combinations.draw_rounds(
                names, rounds=params.rounds, shown=params.shown, seed=base.seed
            )
            for turn in talk.compose(shown, count=params.count, sampling=params.sampling):
                out.add(**transcript.reply_row(turn))
                reply, asked = turn.reply, turn.request.names
                found.add(
                    *combinations.read_reply(reply.text, asked, labeller, finish=reply.finish)
                )
    found.check(OUT / "replies.parquet")
    tables.write_json(OUT / "combinations.json", found.groups)
    tables.write_json(OUT / "metrics.json", found.metrics())
    print(f"compose: {len(found.groups):,} combinations of {len(names)} classes -> {OUT}")


if __name__ == "__main__":
    stage(main)
