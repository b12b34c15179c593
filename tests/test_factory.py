"""The text factory: combinations, dialogue, journal, filter, replay."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import combinations as pairs
from pathlib import Path

import pytest

from clipworks import combinations, filtering
from clipworks.chat import replay
from clipworks.chat.grammar import GrammarEngine
from clipworks.chat.journal import Journal
from clipworks.chat.request import (
    Reply,
    Request,
    Sampling,
    Template,
    ask_for,
    read_templates,
    says_true,
)
from clipworks.classes import Synonyms
from clipworks.dialogue import Dialogue, Plan, challenge_groups
from clipworks.labels import Labeller

ROOT = Path(__file__).parent.parent
SAMPLING = Sampling(temperature=0.8, top_p=0.95, max_tokens=256)
NAMES = ["person", "dog", "car", "bus", "cup"]


def labeller() -> Labeller:
    return Labeller(
        NAMES,
        Synonyms(
            synonyms={
                "person": ["man", "woman", "child"],
                "dog": ["puppy"],
                "car": ["taxi"],
                "cup": ["mug"],
            }
        ),
    )


def request(text: str, seed: int = 0) -> Request:
    return ask_for("judge", Template("judge", text), SAMPLING, seed=seed)


class Counting:
    """An engine that answers with the question and counts what it was asked."""

    def __init__(self, name: str = "counting") -> None:
        self.identity = {"engine": name}
        self.asked: list[str] = []

    def answer(self, requests):
        for index in reversed(range(len(requests))):  # any order is allowed
            self.asked.append(requests[index].messages[-1][1])
            yield index, Reply(self.asked[-1].upper())


def test_rounds_cover_every_class_and_every_pair_as_far_as_they_go() -> None:
    names = [f"class {i}" for i in range(30)]
    rounds = combinations.draw_rounds(names, rounds=30, shown=10, seed=0)
    assert all(len(set(shown)) == 10 for shown in rounds)
    assert len({name for shown in rounds[:3] for name in shown}) == 30
    met = {frozenset(pair) for shown in rounds for pair in pairs(shown, 2)}
    assert len(met) == 30 * 29 / 2


def test_short_class_lists_are_shown_whole() -> None:
    rounds = combinations.draw_rounds(["a", "b", "c"], rounds=2, shown=10, seed=0)
    assert [sorted(shown) for shown in rounds] == [["a", "b", "c"], ["a", "b", "c"]]


def test_a_reply_gives_combinations_of_shown_classes_only() -> None:
    reply = "Here are some:\n1. man and puppy\n2. cup\n3. bus, car: a dog may be there\n4. zebra and dog\n5. dog, bus"
    found, dropped = combinations.read_reply(
        reply, ["person", "dog", "car", "cup", "bus"], labeller()
    )
    assert found == [("person", "dog"), ("car", "bus"), ("dog", "bus")]
    assert dropped["fewer_than_two"] == 2
    found, dropped = combinations.read_reply("1. dog and bus", ["dog", "cup"], labeller())
    assert found == [] and dropped == {"fewer_than_two": 1, "not_shown": 1}


def test_nobody_is_asked_the_same_twice(tmp_path) -> None:
    engine = Counting()
    questions = [request("a"), request("b"), request("a"), request("a", seed=1)]
    with Journal(tmp_path / "j.sqlite") as journal:
        replies = journal.ask(engine, questions, label="test")
        assert [reply.text for reply in replies] == ["A", "B", "A", "A"]
        assert Counter(engine.asked) == {"a": 2, "b": 1}  # seeds 0 and 1 are two questions
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.ask(engine, questions, label="test")
        assert journal.asked == 0
        journal.ask(Counting("another"), questions[:1], label="test")
        assert journal.asked == 1


def test_a_changed_template_asks_only_what_changed(tmp_path) -> None:
    engine = Counting()
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.ask(engine, [request("a"), request("b")], label="test")
        journal.ask(engine, [request("a"), request("b, please")], label="test")
        assert journal.asked == 3


def test_failed_replies_are_not_kept(tmp_path) -> None:
    class Failing(Counting):
        def answer(self, requests):
            yield 1, Reply("fine")
            yield 0, Reply("HTTP 500", finish="error")

    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(
            ValueError,
            match=r"1 of 2 requests failed \(HTTP 500\); what was answered is kept: see to the cause",
        ):
            journal.ask(Failing(), [request("a"), request("b")], label="test")
        assert len(journal) == 1


def test_an_engine_that_leaves_a_request_out_is_found(tmp_path) -> None:
    class Lazy(Counting):
        def answer(self, requests):
            yield 0, Reply("yes")

    with Journal(tmp_path / "j.sqlite") as journal, pytest.raises(RuntimeError, match="1 of 2"):
        journal.ask(Lazy(), [request("a"), request("b")], label="test")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply("True. It is common."), True),
        (Reply("False"), False),
        (Reply("It could be True or False."), False),
        (Reply("I do not know."), False),
        (Reply("False", probability=0.7), True),
        (Reply("True", probability=0.3), False),
    ],
)
def test_true_and_false(reply: Reply, expected: bool) -> None:
    assert says_true(reply, threshold=0.5) is expected


def test_templates_reject_names_they_do_not_know(tmp_path) -> None:
    with pytest.raises(Exception, match="wrong"):
        Template("t", "{{ wrong }}").render(names=[])
    with pytest.raises(ValueError, match="missing"):
        read_templates(tmp_path)


def run_dialogue(folder: Path, **options: bool) -> list:
    with Journal(folder / "j.sqlite") as journal:
        dialogue = Dialogue(
            GrammarEngine(), journal, read_templates(ROOT / "data/templates"), seed=0, threshold=0.5
        )
        plan = Plan("multi", [("person", "dog"), ("cup", "bus"), ("car", "bus")], 2, 5)
        settings = {"feasibility": True, "check": True, **options}
        return list(
            dialogue.caption(plan, **settings, sampling=SAMPLING, verdict_sampling=SAMPLING)
        )


def test_refused_combinations_are_never_written_about(tmp_path) -> None:
    turns = run_dialogue(tmp_path)
    refused = {turn.request.names for turn in turns if turn.source == "feasible" and not turn.keep}
    assert ("cup", "bus") in refused
    assert not refused & {turn.request.names for turn in turns if turn.source == "multi"}


def test_each_part_of_the_dialogue_can_be_switched_off(tmp_path) -> None:
    sources = lambda **options: {turn.source for turn in run_dialogue(tmp_path, **options)}  # noqa: E731
    assert sources() == {"feasible", "multi", "check"}
    assert sources(feasibility=False, check=False) == {"multi"}


def test_the_conversation_goes_on_from_the_feasibility_question(tmp_path) -> None:
    turn = next(turn for turn in run_dialogue(tmp_path) if turn.source == "multi")
    assert [role for role, _ in turn.request.messages] == ["user", "assistant", "user"]


def test_challenge_groups_collapse() -> None:
    groups = [("person", "dog", "cup"), ("dog", "cup"), ("person", "bus")]
    assert challenge_groups(groups, ["dog", "cup"]) == [("dog", "cup")]


def test_the_grammar_errs_as_chat_models_do_and_the_filter_finds_it(tmp_path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        dialogue = Dialogue(
            GrammarEngine(), journal, read_templates(ROOT / "data/templates"), seed=0, threshold=0.5
        )
        plan = Plan("multi", [("person", "dog"), ("car", "bus"), ("person", "cup")], 40, 5)
        turns = list(
            dialogue.caption(
                plan, feasibility=False, check=False, sampling=SAMPLING, verdict_sampling=SAMPLING
            )
        )
        tally = filtering.Tally(NAMES)
        replies = [
            {
                "source": t.source,
                "names": t.request.names,
                "reply": t.reply.text,
                "finish": t.reply.finish,
            }
            for t in turns
        ]
        found = filtering.label(
            filtering.candidates(replies, min_length=6, max_length=149), labeller()
        )
        for candidate in found:
            tally.add(candidate)
    assert {"foreign_script", "duplicate", "cut"} <= set(tally.reasons)
    metrics = tally.metrics()
    assert metrics["kept"] + sum(metrics["rejected"].values()) == metrics["candidates"]
    assert metrics["names_all_asked_share"] < 1  # it forgets a class now and then
    tally.check_classes()


def test_a_class_without_captions_stops_the_run_with_its_name() -> None:
    tally = filtering.Tally(["dog", "unicorn"])
    tally.add(filtering.Candidate("A dog.", "multi", ("dog",), (0,)))
    with pytest.raises(ValueError, match=r"no caption names \['unicorn'\]"):
        tally.check_classes()


def test_the_judge_is_asked_only_about_what_the_rules_left() -> None:
    found = [
        filtering.Candidate("A dog.", "multi", ("dog",), (0,)),
        filtering.Candidate("", "multi", ("dog",), reason="empty"),
        filtering.Candidate("A moon dog.", "multi", ("dog",), (0,)),
    ]
    asked = []

    def judge(captions):
        asked.extend(captions)
        return ["moon" not in text for text in captions]

    assert [c.reason for c in filtering.judged(found, judge)] == [None, "empty", "judged_false"]
    assert asked == ["A dog.", "A moon dog."]


def test_published_recordings_are_read_in_their_three_shapes(tmp_path) -> None:
    (tmp_path / "captions_0_2.json").write_text(
        json.dumps({"0": ["1. A dog runs.", "2. Dogs.", "1. A cup."], "1": []})
    )
    (tmp_path / "captions_2_3.txt").write_text(
        "[0] ('dog', 'cup')\n1. A dog and a cup.\n2. Cups.\n\n[1] ('bus', 'car')\n1. Bus.\n"
    )
    (tmp_path / "challenge_1.jsonl").write_text(
        json.dumps({"labels": ["cup"], "captions": ["1. A cup."]}) + "\n"
    )
    (tmp_path / "early.json").write_text(json.dumps([{"id": 0, "caption": "A man."}]))
    found = list(replay.recordings(tmp_path))
    assert [(r.source, r.names, r.text) for r in found] == [
        ("multi", (), "1. A dog runs.\n2. Dogs."),
        ("multi", (), "1. A cup."),
        ("multi", ("dog", "cup"), "1. A dog and a cup.\n2. Cups.\n"),
        ("multi", ("bus", "car"), "1. Bus."),
        ("challenge", ("cup",), "1. A cup."),
        ("multi", (), "A man."),
    ]
    assert list(replay.combinations(tmp_path, NAMES)) == [("dog", "cup"), ("car", "bus")]
    (tmp_path / "odd.json").write_text('["a", "b"]')
    with pytest.raises(ValueError, match=r"odd\.json is of no known shape"):
        list(replay.recordings(tmp_path))


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import clipworks.chat.grammar as g
from clipworks.chat import engines
class Slow(g.GrammarEngine):
    def answer(self, requests):
        for index, reply in super().answer(requests):
            time.sleep(0.002)
            with open("asked.txt", "a") as log:
                log.write(requests[index].key(self.identity) + "\\n")
            yield index, reply
engines.make = lambda params: Slow()
import stages.caption
stages.caption.main()
"""


def test_a_caption_stage_killed_at_random_resumes_and_ends_with_the_same_bytes(tmp_path) -> None:
    def prepare(folder: Path) -> None:
        (folder / "data/compose").mkdir(parents=True)
        for name in ("templates", "classes"):
            (folder / "data" / name).symlink_to(ROOT / "data" / name)
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        groups = [["person", "dog"], ["car", "bus"], ["person", "cup"], ["fork", "knife"]] * 10
        (folder / "data/compose/combinations.json").write_text(json.dumps(groups))

    def start(folder: Path) -> subprocess.Popen:
        code = KILLED.format(tests=str(ROOT))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=folder,
            env=environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for folder in (calm, killed):
        prepare(folder)
    assert start(calm).wait() == 0
    kills = 0
    for delay in (0.05, 0.12, 0.2):
        process = start(killed)
        before = asked(killed)
        deadline = time.time() + 60
        while asked(killed) == before and process.poll() is None and time.time() < deadline:
            time.sleep(0.01)
        time.sleep(delay)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert start(killed).wait() == 0
    assert kills >= 1
    output = "data/caption/replies.parquet"
    assert (killed / output).read_bytes() == (calm / output).read_bytes()
    # Nothing that was answered is asked again: only the one question that was open at each kill.
    assert asked(killed) - asked(calm) <= kills


def asked(folder: Path) -> int:
    log = folder / "asked.txt"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.skipif(
    "CLIPWORKS_REPLIES" not in os.environ, reason="CLIPWORKS_REPLIES names no folder"
)
@pytest.mark.parametrize(
    ("file", "kept"),
    [
        ("captions_16207_17000.json", 13_566),
        ("captions_17240_18000.json", 12_864),
        ("captions_24200_24500.txt", 5_109),
        ("captions_8000_8500.txt", 8_468),
    ],
)
def test_real_replies_give_as_many_captions_as_the_authors_rules(file: str, kept: int) -> None:
    folder = Path(os.environ["CLIPWORKS_REPLIES"]) / "captions"
    rows = (
        {"source": "multi", "names": r.names, "reply": r.text, "finish": "stop"}
        for r in replay.recordings(folder)
        if re.split(r"[:\[]", r.place)[0] == file
    )
    good = sum(c.reason is None for c in filtering.candidates(rows, min_length=6, max_length=149))
    assert 0.98 * kept <= good <= 1.02 * kept
