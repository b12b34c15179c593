"""The filter: what is rejected, why, and what is left."""

import pytest
from factory import NAMES, dialogue, labeller

from clipworks.writing import filtering
from clipworks.writing.dialogue import Plan
from clipworks.writing.transcript import reply_row


def test_the_grammar_errs_as_chat_models_do_and_the_filter_finds_it(tmp_path) -> None:
    plan = Plan("multi", [("person", "dog"), ("car", "bus"), ("person", "cup")], 40, 5)
    turns = dialogue(plan, tmp_path, feasibility=False, check=False)
    replies = map(reply_row, turns)
    tally = filtering.Tally(NAMES)
    found = filtering.candidates(replies, min_length=6, max_length=149)
    for candidate in filtering.label(found, labeller()):
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
