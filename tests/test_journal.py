"""The journal: nobody is asked the same twice, and nothing that was answered is lost."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from factory import ROOT, SAMPLING

from clipworks.chat.journal import Journal
from clipworks.chat.request import Reply, Request, Template, ask_for
from clipworks.kit.errors import InputError


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
            yield 0, Reply("HTTP 500", finish="error", lost=True)

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


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import clipworks.miniature.grammar as g
from clipworks.chat import engines
class Slow(g.GrammarEngine):
    def answer(self, requests):
        for index, reply in super().answer(requests):
            time.sleep(0.002)
            with open("asked.txt", "a") as log:
                log.write(requests[index].key(self.identity) + "\\n")
            yield index, reply
engines.make = lambda params, stand_in: Slow()
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


def test_a_damaged_journal_is_told_by_its_name(tmp_path) -> None:
    (tmp_path / "caption.sqlite").write_bytes(b"no database " * 100)
    with pytest.raises(InputError, match=r"caption\.sqlite: the journal .*file is not a database"):
        Journal(tmp_path / "caption.sqlite")


def test_a_journal_that_is_damaged_in_its_middle_is_told_by_its_name(tmp_path) -> None:
    path = tmp_path / "caption.sqlite"
    requests = [request(f"{number} " + "a dog " * 40) for number in range(400)]
    with Journal(path) as journal:
        journal.ask(Counting(), requests, label="l")
    stored = bytearray(path.read_bytes())
    third = len(stored) // 3
    stored[third : 2 * third] = b"\xff" * third
    path.write_bytes(stored)
    with pytest.raises(InputError, match=r"caption\.sqlite: the journal .*malformed.*asked again"):
        Journal(path).ask(Counting(), requests, label="l")


def test_a_journal_that_another_run_writes_is_not_to_be_moved_away(tmp_path, monkeypatch) -> None:
    path = tmp_path / "caption.sqlite"
    with Journal(path) as journal:
        journal._connection.execute("pragma busy_timeout = 10")
        other = sqlite3.connect(path)
        other.execute("begin exclusive")
        with pytest.raises(
            InputError, match=r"cannot be written .*locked.*; wait for the other run"
        ):
            journal.ask(Counting(), [request("a")], label="l")
        other.rollback()
        other.close()
        assert journal.ask(Counting(), [request("a")], label="l")[0].text == "A"
