"""Published recordings, read as they are."""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from factory import NAMES

from clipworks.chat import replay
from clipworks.kit.errors import InputError
from clipworks.writing import filtering
from clipworks.writing.replies import items


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
        ("multi", (), '["1. A dog runs.", "2. Dogs."]'),
        ("multi", (), '["1. A cup."]'),
        ("multi", ("dog", "cup"), "1. A dog and a cup.\n2. Cups.\n"),
        ("multi", ("bus", "car"), "1. Bus."),
        ("challenge", ("cup",), '["1. A cup."]'),
        ("multi", (), '["A man."]'),
    ]
    assert replay.combinations(tmp_path, NAMES) == ([("dog", "cup"), ("car", "bus")], 0)
    (tmp_path / "combinations.json").write_text('[["DOG", "Cup"], ["unicorn", "dog"], ["dog"]]')
    found, others = replay.combinations(tmp_path, NAMES)
    assert found[0] == ("dog", "cup") and others == 2
    (tmp_path / "odd.json").write_text('["a", "b"]')
    with pytest.raises(ValueError, match=r"odd\.json\[0\] is of no known shape"):
        list(replay.recordings(tmp_path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '[{"caption": 5}]'), ("a.json", '[{"caption": null}]'),
        ("a.jsonl", '{"labels": [16, 17], "captions": ["a dog"]}'), ("a.txt", "[0] (1, 2)\n1. A dog.\n"),
    ],
)  # fmt: skip
def test_recordings_of_other_types_are_refused_with_their_place(tmp_path, name, text) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{re.escape(name)}.* is of no known shape"):
        list(replay.recordings(tmp_path))


def test_a_listed_sentence_may_hold_what_looks_like_a_number_of_the_list(tmp_path) -> None:
    sentences = ["a dog sits", "a train waits at platform 1 - ready to leave", "a cat\u2028sleeps"]
    entry = {"labels": ["train"], "captions": sentences}
    (tmp_path / "a.jsonl").write_text(json.dumps(entry, ensure_ascii=False) + "\n")
    (one,) = replay.recordings(tmp_path)
    assert [item.text for item in items(one.text)] == [*sentences[:2], "a cat sleeps"]
    (tmp_path / "b.jsonl").write_text("\n")  # nothing
    assert len(list(replay.recordings(tmp_path))) == 1
    dashed = "Image 1 - A dog sits. Image 2 - A cat lies. Image 3 - A bus waits."
    assert len(items(dashed)) == len(items(dashed.replace("Image ", ""))) == 3
    said = "A train waits at platform 1 - ready to leave.\nA dog sits."  # in a reply of lines too
    assert [item.text for item in items(said)] == said.split("\n")


@pytest.mark.parametrize(
    "sentences",
    [
        ["a dog sits", "a train stands at platform 1. People wait", "a cat", "two birds"],
        ["The bus stops at gate 1. A dog waits"],
        ["- a dog sits", "a cat lies"],
        ["1. a train at platform 2. People wait", "2. a dog sits"],
    ],
)
def test_no_sentence_of_a_json_recording_is_lost(tmp_path, sentences: list[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"0": sentences}))
    (one,) = replay.recordings(tmp_path)
    bare = [re.sub(r"^(- |\d\. )", "", sentence) for sentence in sentences]
    assert [item.text for item in items(one.text)] == bare
    (tmp_path / "a.json").write_text(json.dumps([{"caption": s} for s in sentences]))
    found = [item.text for one in replay.recordings(tmp_path) for item in items(one.text)]
    assert found == bare


def test_recordings_are_found_however_their_names_and_lines_are_written(tmp_path) -> None:
    (tmp_path / "Single").mkdir()
    (tmp_path / "Single/A.JSON").write_text(r'{"0": ["a dog \ud83d sits"]}')  # half of a sign
    (tmp_path / "b.txt").write_text("[1] ('dog', 'cup'):\n1. A dog and a cup.\n")
    (tmp_path / "Single/combinations.json").write_text('[["dog", "bus"]]')
    (tmp_path / "._b.txt").write_text("what a Mac puts beside a file")
    found = list(replay.recordings(tmp_path))
    assert [(r.source, r.names) for r in found] == [("single", ()), ("multi", ("dog", "cup"))]
    assert [item.text for item in items(found[0].text)] == ["a dog ? sits"]
    assert replay.combinations(tmp_path, NAMES)[0] == [("dog", "bus"), ("dog", "cup")]
    (tmp_path / "c.jsonl").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"c\.jsonl, line 1 is of no known shape"):
        list(replay.recordings(tmp_path))


@pytest.mark.parametrize("mark", ["1: ", "Sentence 1: ", "**1.** ", "1、", "(1) ", "1)", "• "])
def test_a_sentence_of_a_list_loses_its_mark_and_no_more(tmp_path, mark: str) -> None:
    sentences = [f"{mark}a dog waits on platform 2. People wait", "a cat"]
    (tmp_path / "a.json").write_text(json.dumps({"0": sentences}))
    (one,) = replay.recordings(tmp_path)
    assert [i.text for i in items(one.text)] == ["a dog waits on platform 2. People wait", "a cat"]


def test_half_of_a_sign_in_a_reply_is_a_question_mark() -> None:
    for reply in (r'{"sentences": ["a dog \ud83d sits"]}', r'["a dog \ud83d sits", "a ca'):
        assert items(reply)[0].text == "a dog ? sits"


def test_a_text_without_a_combinations_line_is_no_caption(tmp_path) -> None:
    (tmp_path / "README.txt").write_text("These captions are of the person and dog classes.\n")
    with pytest.raises(InputError, match=r"README\.txt has text before its first line like \[0\]"):
        list(replay.recordings(tmp_path))


def test_other_recordings_in_one_folder_are_others_to_the_journal(tmp_path) -> None:
    table = {"template_hash": ["h"], "prompt": ["p"], "reply": ["True"], "finish": ["stop"],
             "probability": [None]}  # fmt: skip
    identities = []
    for said in ("True", "False", "True"):
        pd.DataFrame({**table, "reply": [said]}).to_parquet(tmp_path / "r.parquet")
        identities.append(replay.ReplayEngine(str(tmp_path)).identity)
    assert identities[0] == identities[2] != identities[1]


def test_a_name_in_brackets_is_one_class(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("[0] ('dog')\n1. A dog.\n")
    assert [one.names for one in replay.recordings(tmp_path)] == [("dog",)]


def test_verdicts_alone_are_no_captions(tmp_path) -> None:
    (tmp_path / "replies.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no recorded replies \(.*answer True/False"):
        replay.check(tmp_path)


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
