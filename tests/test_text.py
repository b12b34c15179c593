"""Replies of chat models become items, rejections have reasons, captions get labels."""

import pytest

from clipworks.kit.classes import Synonyms, read_classes, read_synonyms
from clipworks.writing.labels import Labeller, overruled
from clipworks.writing.replies import items
from clipworks.writing.rules import Duplicates, reject

COCO = "data/classes/coco80.txt"


def texts(reply: str, finish: str = "stop") -> list[str]:
    return [item.text for item in items(reply, finish=finish)]


TWO = ["A cat sits on a couch.", "A dog runs."]


@pytest.mark.parametrize(
    "reply",
    [
        "1. A cat sits on a couch.\n2. A dog runs.",
        "1) A cat sits on a couch.\n\n2) A dog runs.",
        "(1) A cat sits on a couch.\n(2) A dog runs.",
        "1. A cat sits on a couch. 2. A dog runs.",
        '1. "A cat sits on a couch."\n2. "A dog runs."',
        "**1.** A cat sits on a couch.\n**2.** A dog runs.",
        "1. **A cat sits on a couch.**\n2. **A dog runs.**",
        "Sure, here are two sentences:\n\n1. A cat sits on a couch.\n2. A dog runs.",
        "Sentence 1: A cat sits on a couch.\nSentence 2: A dog runs.",
        "Image 1: A cat sits on a couch.\nImage 2: A dog runs.",
        "- A cat sits on a couch.\n- A dog runs.",
        "* A cat sits on a couch.\n* A dog runs.",
        "A cat sits on a couch.\nA dog runs.",
        '["A cat sits on a couch.", "A dog runs."]',
        '```json\n{"sentences": ["A cat sits on a couch.", "A dog runs."]}\n```',
        '{"captions": [{"caption": "A cat sits on a couch."}, {"caption": "A dog runs."}]}',
        "<think>One. 1. Hmm.\n2. Maybe.</think>1. A cat sits on a couch.\n2. A dog runs.",
        "1. A cat sits on a couch.\nExplanation: cats like couches.\n2. A dog runs.\nExplanation: fun.",
        "1.A cat sits on a couch.\r\n2.A dog runs.",
        "1、A cat sits on a couch.\n2、A dog runs.",
    ],
)
def test_lists_of_every_shape_give_their_items(reply: str) -> None:
    assert texts(reply) == TWO


def test_a_number_inside_a_sentence_does_not_split_it() -> None:
    assert texts("1. A bus with number 10. It is red.\n2. A dog runs at 5. p.m.") == [
        "A bus with number 10. It is red.",
        "A dog runs at 5. p.m.",
    ]


def test_several_numbered_replies_in_a_row_are_all_read() -> None:
    assert texts("1. One cat.\n2. Two cats.\n1. A dog.\n2. Dogs.") == [
        "One cat.",
        "Two cats.",
        "A dog.",
        "Dogs.",
    ]


def test_a_sentence_cut_by_the_token_limit_is_marked() -> None:
    found = items("1. A cat sits.\n2. A dog is running through the", finish="length")
    assert [(item.text, item.cut) for item in found] == [
        ("A cat sits.", False),
        ("A dog is running through the", True),
    ]
    whole = items("1. A cat sits.\n2. A dog runs.", finish="length")
    assert not whole[-1].cut


def test_a_json_list_cut_by_the_token_limit_gives_its_whole_strings() -> None:
    assert texts('["A cat sits on a couch.", "A dog runs.", "A bus is dri', "length") == TWO


def test_an_empty_reply_has_no_items() -> None:
    assert texts("") == [] and texts(" \n ") == []


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("A dog runs.", None),
        ("", "empty"),
        ("A dog", "too_short"),
        ("A dog " + "runs and " * 20, "too_long"),
        ("A dog在街上 runs.", "foreign_script"),
        ("A dog runs， fast.", "foreign_script"),
        ("Собака runs here.", "foreign_script"),
        ("A café with a naïve dog.", None),
        ("Sure, here are five sentences describing images:", "preamble"),
        ("I'm sorry, but I cannot describe this scene.", "refusal"),
        ("As an AI language model I have no eyes.", "refusal"),
        ("12345 67890", "no_words"),
    ],
)
def test_each_rejection_has_its_reason(caption: str, reason: str | None) -> None:
    assert reject(caption, cut=False, min_length=6, max_length=149) == reason


def test_length_bounds_are_inclusive() -> None:
    assert reject("ab cd.", cut=False, min_length=6, max_length=6) is None
    assert reject("ab cd.e", cut=False, min_length=6, max_length=6) == "too_long"


def test_duplicates_are_seen_through_case_and_punctuation() -> None:
    seen = Duplicates()
    assert seen.add("A dog runs.") and not seen.add("a dog runs") and seen.add("A dog ran.")


@pytest.fixture(scope="module")
def coco() -> Labeller:
    from pathlib import Path

    root = Path(__file__).parent.parent
    return Labeller(read_classes(root / COCO), read_synonyms(root / "data/classes/synonyms.yaml"))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A hot dog on a plate.", {"hot dog"}),
        ("A hot-dog and a dog.", {"hot dog", "dog"}),
        ("A sports car passes a bus stop.", {"car"}),
        ("A mouse pad lies there.", set()),  # decided: the pad is no mouse
        ("A mouse on a mouse pad.", {"mouse"}),
        ("Two men's bicycles and the dog's bowl.", {"person", "bicycle", "dog", "bowl"}),
        ("Women, children and geese.", {"person", "bird"}),
        ("Knives, glasses of wine, tvs and scissors.", {"knife", "wine glass", "tv", "scissors"}),
        ("A skier is skiing.", {"person"}),
        ("She wears a tie while he ties his shoes.", {"tie"}),
        ("A teddy bear, not a bear.", {"teddy bear", "bear"}),
        ("An orange cat? An orange shirt!", {"orange", "cat"}),
        ("A potted plant in a power plant.", {"potted plant"}),
        ("The catalogue of a caravan.", set()),
        ("HAIR DRYER AND TOOTHBRUSH", {"hair drier", "toothbrush"}),
        ("A cup of tea in the train station.", {"cup"}),
        ("A microwave, oven and fridge.", {"microwave", "oven", "refrigerator"}),
        ("Nothing at all.", set()),
    ],
)
def test_labels_by_name_synonym_and_inflection(
    coco: Labeller, caption: str, expected: set[str]
) -> None:
    assert {coco.class_names[i] for i in coco.label(caption)} == expected


def test_classes_without_synonyms_work_from_their_names() -> None:
    labeller = Labeller(["lighthouse", "coral reef"], Synonyms())
    assert labeller.label("Two lighthouses over a coral-reef.") == [0, 1]


def test_a_word_claimed_by_two_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="'ship' stands for 'boat' and for 'vessel'"):
        Labeller(["boat", "vessel"], Synonyms(synonyms={"boat": ["ship"], "vessel": ["ship"]}))


def test_a_classs_own_name_wins_over_anothers_synonym() -> None:
    labeller = Labeller(["boat", "ship"], Synonyms(synonyms={"boat": ["ship", "vessel"]}))
    assert labeller.label("a ship") == [1] and labeller.label("a vessel") == [0]


def test_synonyms_are_of_a_class_in_any_case_and_phrases_that_are_not_heard_are_told() -> None:
    written = Synonyms(
        synonyms={"Boat": ["Row-Boat", "ship"], "train": ["Boat Train"]}, other_meanings=["boat", "ship ahoy"]
    )  # fmt: skip
    assert Labeller(["boat", "ship"], written).label("a row boat") == [0]
    assert overruled(["boat", "ship", "train"], written) == [
        "'ship' of 'boat' is a class itself, and found as that",
        "the other meaning 'boat' is a class's own name, and found as that",
    ]
    assert overruled(["boat", "car"], Synonyms(synonyms={"boat": ["boat", "boats"]})) == []


def test_class_lists_are_refused_with_the_entry(tmp_path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("dog\ncat\nDog\n")
    with pytest.raises(ValueError, match=r"'Dog' \(entry 3\) stands there twice"):
        read_classes(path)
    path.write_text("dog\n")
    with pytest.raises(ValueError, match="at least 2"):
        read_classes(path)
    with pytest.raises(ValueError, match="does not exist"):
        read_classes(tmp_path / "none.txt")


def test_a_misspelt_class_in_the_synonyms_file_is_noticed() -> None:
    from clipworks.kit.classes import misspelt

    synonyms = Synonyms(synonyms={"padle": ["oar"], "person": ["man"], "dog": ["puppy"]})
    assert misspelt(synonyms, ["paddle", "dog"]) == ["'padle' (did you mean 'paddle'?)"]


def test_a_stray_key_in_the_synonyms_file_is_refused(tmp_path) -> None:
    path = tmp_path / "synonyms.yaml"
    path.write_text("synonim: {}\n")
    with pytest.raises(ValueError, match=r"synonim.*allowed are 'synonyms"):
        read_synonyms(path)
