"""The rules that reject a candidate, in their order, and what they let through."""

import pytest

from clipworks.writing.rules import Duplicates, foreign_script, reject


def reason(text: str, *, cut: bool = False) -> str | None:
    return reject(text, cut=cut, min_length=6, max_length=20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dog on", None),  # 6 characters
        ("Dogs.", "too_short"),
        ("A dog runs in a park", None),  # 20 characters
        ("A dog runs in a park.", "too_long"),
        ("Sorry dogs", None),
        ("Here is a dog", None),  # a preamble ends with a colon
        ("Here is an image: ", "preamble"),
        ("A dog, an image:", None),  # and begins with one of its words
        ("I am sorry", "refusal"),
        ("I am sorry that I cannot do it", "refusal"),  # though it is too long as well
        ("狗", "foreign_script"),  # though it is too short as well
        ("dogs 12", "no_words"),
        ("a b c d e f", "no_words"),
        ("12 dogs, 3 cats", None),
    ],
)
def test_each_rule_has_its_bounds(text: str, expected: str | None) -> None:
    assert reason(text) == expected


def test_a_cut_sentence_is_rejected_before_anything_else_is_asked() -> None:
    assert reason("A dog runs", cut=True) == "cut" and reason("狗", cut=True) == "cut"
    assert reason("", cut=True) == "empty"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", None),
        ("Zoë’s café – naïve…", None),  # Latin letters, dashes and quotes
        ("a dog 🐶", None),  # an emoji is no letter
        ("the dogʼs bowl", None),  # a modifier letter
        ("a dog。", "。"),
        ("a dog， fast", "，"),
        ("é жж", "ж"),
        ("αβ", "α"),
        ("２ dogs", "２"),  # full width
    ],
)
def test_the_first_letter_that_is_not_latin_is_found(text: str, expected: str | None) -> None:
    assert foreign_script(text) == expected


def test_duplicates_know_what_was_there_before() -> None:
    seen = Duplicates(["A dog runs."])
    assert not seen.add("a DOG - runs") and seen.add("A dog ran")
    assert not seen.add("A dog ran!") and seen.add("A dogran")
    assert {len(digest) for digest in seen._seen} == {8}  # bytes: memory stays small
