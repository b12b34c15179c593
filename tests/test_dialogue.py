"""The dialogue: feasibility, sentences, checks, and what counts as True."""

import pytest
from factory import dialogue

from clipworks.chat.request import Reply, Template, read_templates, says_true
from clipworks.writing.dialogue import Plan
from clipworks.writing.plans import challenge_groups


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


PLAN = Plan("multi", [("person", "dog"), ("cup", "bus"), ("car", "bus")], 2, 5)


def test_refused_combinations_are_never_written_about(tmp_path) -> None:
    turns = dialogue(PLAN, tmp_path)
    refused = {turn.request.names for turn in turns if turn.source == "feasible" and not turn.keep}
    assert ("cup", "bus") in refused
    assert not refused & {turn.request.names for turn in turns if turn.source == "multi"}


def test_each_part_of_the_dialogue_can_be_switched_off(tmp_path) -> None:
    sources = lambda **options: {turn.source for turn in dialogue(PLAN, tmp_path, **options)}  # noqa: E731
    assert sources() == {"feasible", "multi", "check"}
    assert sources(feasibility=False, check=False) == {"multi"}


def test_the_conversation_goes_on_from_the_feasibility_question(tmp_path) -> None:
    turn = next(turn for turn in dialogue(PLAN, tmp_path) if turn.source == "multi")
    assert [role for role, _ in turn.request.messages] == ["user", "assistant", "user"]


def test_challenge_groups_collapse() -> None:
    groups = [("person", "dog", "cup"), ("dog", "cup"), ("person", "bus")]
    assert challenge_groups(groups, ["dog", "cup"]) == [("dog", "cup")]
