"""`clipworks classes`: what to mend in a class list."""

import pytest
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.tagging import lexicon


def test_names_of_many_pieces_are_told_with_the_pieces(clip) -> None:
    notes = lexicon.split_badly(clip, ["dog", "zorblaxquintifer", "traffic light"])
    assert len(notes) == 1 and "'zorblaxquintifer' becomes" in notes[0] and "|" in notes[0]


def test_pairs_that_the_clip_can_hardly_tell_apart_are_told(clip) -> None:
    names = ["dog", "Dog", "bus", "cup"]  # the tokenizer reads both alike
    (note,) = [n for n in lexicon.alike(clip, names) if "'dog' and 'Dog'" in n]
    assert "cosine of 1.000" in note and "merge them" in note


def test_the_console_looks_a_list_over(tmp_dir, backbone_folder) -> None:
    (tmp_dir / "c.txt").write_text("saw\nzorblaxquintifer\ncup\n")
    found = CliRunner().invoke(app, ["classes", "c.txt", "--backbone", str(backbone_folder)])
    assert found.exit_code == 0, found.output
    assert "meaning: class 'saw'" in found.output and "tokens: 'zorblaxquintifer'" in found.output
    (tmp_dir / "c.txt").write_text("cup\nbus\n")
    found = CliRunner().invoke(app, ["classes", "c.txt"])
    assert found.output == "nothing to mend\n"


@pytest.mark.parametrize(
    ("text", "message"), [("dog\nDOG\n", "stands there twice"), ("dog\n", "at least 2")]
)
def test_lists_of_no_use_are_refused(tmp_dir, text, message) -> None:
    (tmp_dir / "c.txt").write_text(text)
    found = CliRunner().invoke(app, ["classes", "c.txt"])
    assert found.exit_code == 1 and message in found.output


def test_signs_that_no_name_has_and_other_scripts_are_told(tmp_dir) -> None:
    (tmp_dir / "c.txt").write_text(
        "dog,cat\ngoose\tox\nleaf  leaf\n犬\nO'Brien's hot-dog (café)\n- cow\nhot_dog\n17\n"
    )
    output = CliRunner().invoke(app, ["classes", "c.txt"]).output
    for note in (
        "'dog,cat' has ','",
        r"'goose\tox' has '\t'",
        "'leaf  leaf' has '  '",
        "'- cow' has '- '",
        "'hot_dog' has '_'",
        "'17' is a number",
    ):
        assert note in output
    assert "script: '犬' is not in Latin letters" in output and "7 things to look at" in output
