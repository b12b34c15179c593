"""Labels: the longest phrase wins, its words are used up, and nobody's words are taken by others."""

import unicodedata

import pytest

from clipworks.kit.classes import Synonyms, read_classes
from clipworks.kit.errors import InputError
from clipworks.worlds import labels
from clipworks.writing.labels import Labeller, claims, words

NAMES = ["dog", "hot dog", "cup"]
SYNONYMS = Synonyms(synonyms={"cup": ["cup of tea"]}, other_meanings=["dog house", "world cup"])


@pytest.fixture(scope="module")
def labeller() -> Labeller:
    return Labeller(NAMES, SYNONYMS)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a hot dog", [1]),
        ("dog, hot dog", [0, 1]),
        ("a hot", []),
        ("hot hot dog dog", [0, 1]),
        ("a dog house", []),
        ("a dog house dog", [0]),
        ("the world cup of tea", []),  # the phrase that begins first takes the word
        ("cup dog cup", [0, 2]),
        ("a cup of", [2]),
        ("a cup of tea dog", [0, 2]),
        ("", []),
    ],
)
def test_words_are_read_once_from_left_to_right(
    labeller, caption: str, expected: list[int]
) -> None:
    assert labeller.label(caption) == expected


def test_many_captions_are_labelled_in_their_order(labeller) -> None:
    assert labeller.label_all(["a cup", "nothing", "dogs"]) == [[2], [], [0]]
    assert labeller.class_names == ("dog", "hot dog", "cup")


def test_words_are_folded_and_punctuation_is_a_word() -> None:
    assert words("The DOG's hot-dog, two_cups!") == [
        "the",
        "dog",
        "hot",
        "dog",
        ",",
        "two",
        "cups",
        "!",
    ]


def test_a_phrase_belongs_to_its_class_and_another_meaning_to_none() -> None:
    found = claims(
        ["boat", "ship"],
        Synonyms(synonyms={"boat": ["ship", "Row-Boat"]}, other_meanings=["ship", "boat train"]),
    )
    assert found == {("boat",): 0, ("ship",): 1, ("row", "boat"): 0, ("boat", "train"): None}
    cased = claims(["Mouse", "pad"], Synonyms(synonyms={"pad": ["mouse"]}))
    assert cased == {("mouse",): 0, ("pad",): 1}


@pytest.mark.parametrize(
    ("names", "synonyms", "message"),
    [
        (["hot dog", "hot-dog"], {}, "base.classes: 'hot dog' and 'hot-dog' are the same words"),
        (["a", "b"], {"a": ["x"], "b": ["x"]}, "'x' stands for 'a' and for 'b'"),
        (["hot-dog", "b"], {"b": ["hot dog"]}, "'hot dog' stands for 'hot-dog' and for 'b'"),
        (["a", "b"], {"b": ["--"]}, "'--' of class 'b' has no letters"),
    ],
)
def test_words_that_two_classes_claim_are_refused(names, synonyms, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Labeller(names, Synonyms(synonyms=synonyms))


def test_an_accent_is_the_same_in_all_its_forms(tmp_path) -> None:
    apart, whole = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    for name, said in ((apart, whole), (whole, apart)):
        assert Labeller([name, "zebra"], Synonyms()).label(f"people sit in a {said}") == [0]
    (tmp_path / "c.txt").write_text(f"{apart}\nzebra\n")
    assert read_classes(tmp_path / "c.txt") == [whole, "zebra"]
    (tmp_path / "t.csv").write_text(f"image,tags\na.jpg,{apart}\n")
    assert labels.read(tmp_path / "t.csv", ["a.jpg"], [whole, "zebra"]).tolist() == [[1, 0]]
    (tmp_path / "c.txt").write_text(f"{apart}\n{whole}\n")
    with pytest.raises(InputError, match="stands there twice"):
        read_classes(tmp_path / "c.txt")
