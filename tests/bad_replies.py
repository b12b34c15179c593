"""Wrong things about chat models: recorded replies, servers, models."""

from pathlib import Path
from typing import Any

from bad_world import World, wrong


def recorded(world: World) -> None:
    """Read what lies in r/ as the caption stage does."""
    world.set({"chat.engine": "replay", "chat.replay.folder": "r"})
    world.take("data/compose")
    world.stage("compose")
    world.stage("caption")


SHAPES = "allowed are .json {"


@wrong("replies in an odd JSON list", rf"chat\.replay: r/a\.json\[0\] is of no known shape.*{SHAPES}",
       name="a.json", content=["a dog"])  # fmt: skip
@wrong("one JSON value for replies", rf"r/a\.json is of no known shape.*{SHAPES}",
       name="a.json", content=3)  # fmt: skip
@wrong("replies by index that are no lists", rf"r/a\.json\[7\] is of no known shape.*{SHAPES}",
       name="a.json", content={"7": "a dog"})  # fmt: skip
@wrong("replies that are no JSON", r"chat\.replay: r/a\.json, line 1, column 2: no valid JSON",
       name="a.json", content="[")  # fmt: skip
@wrong("a broken line of replies", rf"r/a\.jsonl, line 2 is of no known shape.*{SHAPES}",
       name="a.jsonl", content='{"labels": [], "captions": []}\n{"labels": [\n')  # fmt: skip
@wrong("a line of replies without labels", r"r/a\.jsonl, line 1 is of no known shape \(it lacks 'labels'",
       name="a.jsonl", content='{"captions": []}\n')  # fmt: skip
@wrong("replies to names without quotes", r"r/a\.txt, line 2 is of no known shape",
       name="a.txt", content="\n[1] (dog, bench)\n1. A dog.\n")  # fmt: skip
@wrong("replies in UTF-16", r"chat\.replay: r/a\.txt is not UTF-8",
       name="a.txt", content="1. A dog.".encode("utf-16"))  # fmt: skip
@wrong("combinations in no list of lists", r"r/combinations\.json: allowed is a list of lists of class",
       name="combinations.json", content=[1, 2])  # fmt: skip
@wrong("a table of replies with other columns", r"r/a\.parquet has no columns \['finish'",
       name="a.parquet", content=None)  # fmt: skip
@wrong("captions that are one text", r"r/a\.jsonl, line 1 is of no known shape; allowed are", name="a.jsonl",
       content='{"labels": ["dog"], "captions": "a dog sits"}')  # fmt: skip
@wrong("a table of replies that is none", r"r/a\.parquet is no whole parquet file .*run the stage",
       name="a.parquet", content=b"PAR1")  # fmt: skip
def _(world: World, name: str, content: Any) -> None:
    from clipworks.chat.replay import ReplayEngine
    from clipworks.kit.tables import Writer
    from clipworks.writing.transcript import REJECTED

    if content is None:
        with Writer(Path("r") / name, REJECTED) as out:
            out.add(caption="", source="", names=[], reason="")
    else:
        world.put(f"r/{name}", content)
    ReplayEngine("r")
    recorded(world)


@wrong(
    "no folder of replies, when it comes to captions", r"chat\.replay\.folder: r is no folder; put"
)
def _(world: World) -> None:
    recorded(world)


@wrong("a question that nobody recorded", r"chat\.replay: \S+ holds no recorded answer to the judge "
       r"question that begins .*filter\.judge=false")  # fmt: skip
def _(world: World) -> None:
    world.take("data/caption")
    world.put("r/a.txt", "")
    world.set({"chat.engine": "replay", "chat.replay.folder": "r"})
    world.stage("filter")


@wrong("replies that say nothing of some classes", r"no caption names \['person', .*base\.synonyms.*"
       r"caption\.single_rounds.*data/filter/rejected\.parquet")  # fmt: skip
def _(world: World) -> None:
    from clipworks.chat.replay import Recording
    from clipworks.kit.tables import Writer
    from clipworks.writing import transcript

    texts = ("", "I'm sorry, but as an AI I cannot.", "1. 一只狗。\n2. A dog在街上 runs.")
    with Writer(Path("data/caption/replies.parquet"), transcript.REPLIES) as out:
        for text in texts:
            out.add(**transcript.recording_row(Recording("multi", (), text, "")))
    world.set({"filter.judge": False})
    world.stage("filter")


@wrong("a hard class that is none, when it comes to captions",
       r"caption\.challenge_classes: no class 'unicorn' in the class list")  # fmt: skip
def _(world: World) -> None:
    world.take("data/compose")
    world.set({"caption.challenge_classes": ["unicorn"]})
    world.stage("caption")


@wrong(
    "recordings that name no two classes",
    r"chat\.replay\.folder: r names no two classes of the list together",
)
def _(world: World) -> None:
    world.put("r/a.json", '{"0": ["1. a dog sits on a bench"]}')
    world.set({"chat.engine": "replay", "chat.replay.folder": "r", "filter.judge": False})
    world.check()


# Chat servers


@wrong("no chat server", r"chat\.openai\.base_url: no server answers at http://127\.0\.0\.1:9/v1",
       url="http://127.0.0.1:9/v1")  # fmt: skip
@wrong("an address that is none", r"chat\.openai\.base_url: 'localhost:8000' is no http address",
       url="localhost:8000")  # fmt: skip
@wrong("a server that knows no such key", r"chat\.openai: \S+ refuses: .*key from \$CLIPWORKS_NO_KEY",
       url="")  # fmt: skip
def _(world: World, url: str) -> None:
    if not url:
        from chatting import Server

        server = Server()
        server.plan, url = ["401"] * 9, server.url
    world.set({"chat.engine": "openai", "chat.openai.base_url": url, "chat.openai.retries": 0})
    world.set({"chat.openai.key_variable": "CLIPWORKS_NO_KEY", "compose.rounds": 2})
    world.stage("compose")


@wrong("no chat model", r"chat\.transformers\.model: the folder \./model does not exist")
def _(world: World) -> None:
    world.set({"chat.engine": "transformers", "chat.transformers.model": "./model"})
    world.stage("compose")
