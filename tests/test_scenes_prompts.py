"""Prompt sets: written out by rule, counted by class, and refused with the name of what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from clipworks.clip.hand import imagenet_templates
from clipworks.scenes import prompts

TEMPLATES = Path(__file__).parent.parent / "solutions/scenes/data/templates"
GOOD = {
    "templates": {"name": ["{}"], "own": ["a [photo|image] of a {}"]},
    "imagenet": {"few": [0, 79]},
    "sentences": {"farm": ["a cow"]},
}


def built(content: dict, tmp_path: Path, classes=("street", "farm")) -> prompts.PromptSet:
    path = tmp_path / "prompts.yaml"
    path.write_text(yaml.safe_dump(content))
    file = prompts.read_file(path)
    return prompts.build(file, list(classes), imagenet_templates("{}"), name="prompts.yaml")


def test_patterns_are_written_out_with_the_left_choice_slowest() -> None:
    found = prompts.expand("a [b|c] [x|y] of {}", "Sea")
    assert found == ["a b x of Sea", "a b y of Sea", "a c x of Sea", "a c y of Sea"]


def test_the_contests_set_has_52_prompts_a_class_and_312_in_all() -> None:
    file = prompts.read_file(TEMPLATES / "contest.yaml")
    found = prompts.build(file, list(file.sentences), imagenet_templates("{}"), name="contest")
    rows = found.rows(["name", "own", "blur", "imagenet", "sentences"])
    assert len(rows) == 312 and set(np.bincount(found.owner[rows])) == {52}
    assert {texts["sentences"] for texts in found.counts().values()} == {3}


def test_a_class_without_sentences_is_allowed_and_counted(tmp_path) -> None:
    found = built(GOOD, tmp_path)
    assert found.counts() == {
        "street": {"name": 1, "own": 2, "few": 2, "sentences": 0},
        "farm": {"name": 1, "own": 2, "few": 2, "sentences": 1},
    }
    file = prompts.read_file(tmp_path / "prompts.yaml")
    assert prompts.without_sentences(file, ["street", "farm"]) == ["street"]
    found.write(tmp_path / "set.json")
    assert prompts.PromptSet.load(tmp_path / "set.json") == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentences": {"barn": ["hay"]}}, r"sentences for \['barn'\], which are no classes"),
        ({"templates": {"own": ["a photo"]}}, "would say the same of every class"),
        (
            {"templates": {"own": ["a [big|red {}"]}},
            "a bracket without its other half, or one within",
        ),
        (
            {"templates": {"own": ["a [[big|red] {}|{}]"]}},
            "without its other half, or one within another",
        ),
        (
            {"sentences": {"street": ["a {} at night"]}},
            r"sentences of 'street' are taken as they stand",
        ),
        (
            {"sentences": {"street": ["a [big|small] street"]}},
            r"and \['a \[big\|small\] street'\] are empty or hold",
        ),
        ({"sentences": {"street": [" "]}}, r"and \[' '\] are empty"),
        ({"imagenet": {"few": [80]}}, r"'few' lists \[80\]; allowed are 0 to 79"),
        ({"imagenet": {"name": "all"}}, r"group \['name'\] stands there twice"),
        ({"sentences": ["hay"]}, "prompts.yaml: sentences has another form .*dictionary"),
        ({"templats": {}}, "templats"),
    ],
)
def test_a_faulty_prompts_file_is_refused_by_name(tmp_path, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        built({**GOOD, **change}, tmp_path)


def test_a_part_that_is_not_there_is_empty(tmp_path) -> None:
    found = built({"templates": GOOD["templates"]}, tmp_path)
    assert set(found.groups) == set(GOOD["templates"])


def test_groups_that_are_not_there_or_leave_a_class_bare_are_refused(tmp_path) -> None:
    found = built(GOOD, tmp_path)
    with pytest.raises(ValueError, match=r"no prompt group \['blur'\]; .* has \['name', 'own'"):
        found.rows(["name", "blur"])
    with pytest.raises(ValueError, match=r"leave \['street'\] without a prompt"):
        found.rows(["sentences"])


@pytest.mark.parametrize(
    "content", [b"templates: [", "templates: {}".encode("utf-16"), b"imagenet: {}\nimagenet: {}\n"]
)
def test_a_prompts_file_that_cannot_be_read_is_named(tmp_path, content) -> None:
    (tmp_path / "odd.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.yaml"):
        prompts.read_file(tmp_path / "odd.yaml")


def test_a_prompts_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml does not exist; it needs the parts"):
        prompts.read_file(tmp_path / "none.yaml")
