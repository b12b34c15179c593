"""The filter: what is rejected, why, and what is left."""

from pathlib import Path

import pytest
from chatting import GREEDY, question
from factory import NAMES, dialogue, labeller

from clipworks.chat.request import Reply
from clipworks.kit import tables
from clipworks.kit.params import load
from clipworks.writing import filtering
from clipworks.writing.dialogue import Dialogue, Plan
from clipworks.writing.filtering import Candidate
from clipworks.writing.params import Filter
from clipworks.writing.transcript import CAPTIONS, REJECTED, REPLIES, reply_row


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


def reply(source: str, text: str, **changes: object) -> dict[str, object]:
    return {"source": source, "names": ["dog"], "reply": text, "finish": "stop", **changes}


def test_candidates_are_the_sentences_of_caption_replies_alone() -> None:
    replies = [
        reply("check", "1. A dog is asked about."),
        reply("multi", "1. A dog runs.\n2. Dogs."),
        reply("single", ""),
        reply("multi", "1. A dog and a ca", finish="length"),
    ]
    assert list(filtering.candidates(replies, min_length=6, max_length=149)) == [
        Candidate("A dog runs.", "multi", ("dog",)),
        Candidate("Dogs.", "multi", ("dog",), reason="too_short"),
        Candidate("", "single", ("dog",), reason="empty"),
        Candidate("A dog and a ca", "multi", ("dog",), reason="cut"),
    ]


def test_what_the_check_refused_is_rejected_and_what_it_kept_is_labelled() -> None:
    verdicts = [
        {"source": "check", "names": ["dog"], "caption": "A dog flies.", "keep": False},
        {"source": "check", "names": ["dog"], "caption": "A dog runs.", "keep": True},
        {"source": "judge", "names": ["dog"], "caption": "A dog runs.", "keep": False},
    ]
    refused = filtering.refused(verdicts)
    assert refused == {(("dog",), "A dog flies.")}
    found = [
        Candidate("A dog flies.", "multi", ("dog",)),
        Candidate("A dog flies!", "multi", ("dog", "cup")),
        Candidate("A dog runs.", "multi", ("dog",)),
        Candidate("", "multi", ("dog",), reason="empty"),
        Candidate("A cup and a dog.", "single", ("cup",)),
        Candidate("A moon.", "single", ("cup",)),
    ]
    labelled = list(filtering.label(found, labeller(), refused=refused))
    assert [(c.labels, c.reason) for c in labelled] == [
        ((), "checked_false"),
        ((), "duplicate"),
        ((1,), None),
        ((), "empty"),
        ((1, 4), None),
        ((), "no_class"),
    ]
    assert labelled[4] == Candidate("A cup and a dog.", "single", ("cup",), (1, 4))
    assert [c.reason for c in filtering.label(found[:1], labeller())] == [None]


def test_a_refused_sentence_may_stay_where_other_classes_were_asked_for() -> None:
    found = [Candidate("A dog flies.", "multi", ("dog", "cup"))]
    kept = filtering.label(found, labeller(), refused={(("dog",), "A dog flies.")})
    assert [c.reason for c in kept] == [None]


def test_the_judge_is_asked_some_thousands_at_a_time(monkeypatch) -> None:
    assert filtering.JUDGED_AT_ONCE == 5000
    monkeypatch.setattr(filtering, "JUDGED_AT_ONCE", 2)
    found = [Candidate(f"A dog {n}.", "multi", ("dog",), (0,)) for n in range(5)]
    asked: list[list[str]] = []

    def judge(captions):
        asked.append(list(captions))
        return [text != "A dog 3." for text in captions]

    verdicts = list(filtering.judged(found, judge))
    assert [len(part) for part in asked] == [2, 2, 1]
    refused = Candidate("A dog 3.", "multi", ("dog",), reason="judged_false")
    assert verdicts == [*found[:3], refused, found[4]]
    assert list(filtering.judged(found, None)) == found


def test_the_tally_by_hand() -> None:
    tally = filtering.Tally(["dog", "cat", "cup"])
    for candidate in [
        Candidate("A dog.", "single", ("dog",), (0,)),
        Candidate("A dog and a cat.", "multi", ("dog", "cat"), (0, 1)),
        Candidate("A dog and a cup.", "multi", ("dog", "cat"), (0, 2)),  # forgets the cat
        Candidate("A cup.", "challenge", ("unicorn",), (2,)),  # nobody knows what was asked for
        Candidate("", "multi", ("dog",), reason="empty"),
        *(Candidate(f"Moon {n}.", "multi", ("dog",), reason="no_class") for n in (1, 1, 2, 3)),
        *(Candidate(f"Moon {n}.", "multi", ("dog",), reason="no_class") for n in (4, 5, 6)),
    ]:
        tally.add(candidate)
    metrics = tally.metrics()
    assert metrics == {
        "candidates": 12,
        "kept": 4,
        "kept_share": 0.3333,
        "names_all_asked_share": 0.6667,
        "labels_per_caption": 1.5,
        "fewest_captions_of_a_class": 1,
        "rejected": {"empty": 1, "no_class": 7},
        "kept_by_source": {"challenge": 1, "multi": 2, "single": 1},
    }
    assert tally.report() == {
        "class_counts": {"dog": 3, "cat": 1, "cup": 2},
        "metrics": metrics,
        "reasons": [("no_class", 7), ("empty", 1)],
        "examples": {"empty": [""], "no_class": [f"Moon {n}." for n in (1, 2, 3, 4, 5)]},
    }
    tally.check_classes()


def test_a_tally_of_one_counts_it_once() -> None:
    tally = filtering.Tally(["dog"])
    tally.add(Candidate("A dog.", "single", ("dog",), (0,)))
    metrics = tally.metrics()
    assert metrics["kept_share"] == metrics["labels_per_caption"] == 1
    assert metrics["names_all_asked_share"] == 1


def test_a_tally_of_nothing_is_no_division_by_zero() -> None:
    metrics = filtering.Tally(["dog"]).metrics()
    assert metrics["kept_share"] == metrics["labels_per_caption"] == 0
    assert metrics["names_all_asked_share"] is None


def test_candidates_go_into_the_table_where_they_belong(tmp_path) -> None:
    paths = tmp_path / "kept.parquet", tmp_path / "rejected.parquet"
    with tables.Writer(paths[0], CAPTIONS) as kept, tables.Writer(paths[1], REJECTED) as rejected:
        filtering.write(Candidate("A dog.", "multi", ("dog",), (0,)), kept, rejected)
        filtering.write(Candidate("Moon.", "multi", ("dog",), reason="no_class"), kept, rejected)
    row = {"source": "multi", "names": ["dog"]}
    assert list(tables.rows(paths[0])) == [{**row, "caption": "A dog.", "labels": [0]}]
    assert list(tables.rows(paths[1])) == [{**row, "caption": "Moon.", "reason": "no_class"}]


class Doubting(Dialogue):
    """Stands for a chat model that thinks nothing of the moon."""

    def __init__(self) -> None: ...

    def judge(self, captions, *, threshold, sampling):
        assert (threshold, sampling) == (0.25, GREEDY)
        return [(question(text), Reply("Hmm."), "moon" not in text) for text in captions]


def test_a_table_is_whole_or_not_there(tmp_path) -> None:
    path = tmp_path / "captions.parquet"
    row = {"caption": "a", "source": "multi", "names": [], "labels": []}
    with tables.Writer(path, CAPTIONS) as kept:
        kept.add(**row)
        assert not path.exists()
    before = path.read_bytes()
    with pytest.raises(RuntimeError), tables.Writer(path, CAPTIONS) as kept:
        kept.add(**row)
        raise RuntimeError
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_every_verdict_of_the_judge_is_written_down(tmp_path) -> None:
    shipped = load("filter", Filter, Path(__file__).parent.parent / "params.yaml")
    params = shipped.model_copy(update={"judge_threshold": 0.25, "sampling": GREEDY})
    with tables.Writer(tmp_path / "verdicts.parquet", REPLIES) as verdicts:
        judge = filtering.judge_with(Doubting(), params, verdicts)
        assert judge(["a dog", "a moon", "a cup"]) == [True, False, True]
    rows = list(tables.rows(tmp_path / "verdicts.parquet"))
    assert [row["keep"] for row in rows] == [True, False, True]
    assert [(row["source"], row["round"], row["reply"]) for row in rows] == [
        ("judge", 0, "Hmm.")
    ] * 3
