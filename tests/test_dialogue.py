"""The dialogue: feasibility, sentences, checks, and what counts as True."""

import dataclasses
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
from chatting import GREEDY
from factory import dialogue

from clipworks.chat.journal import Journal
from clipworks.chat.request import Reply, Template, read_templates, says_true
from clipworks.kit.errors import InputError
from clipworks.writing.dialogue import Dialogue, Plan
from clipworks.writing.plans import challenge_groups

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply("True. It is common."), True),
        (Reply("False"), False),
        (Reply("It could be True or False."), False),
        (Reply("I do not know."), False),
        (Reply("False", probability=0.7), True),
        (Reply("True", probability=0.3), False),
        (Reply("<think>Could this be False? No.</think>\n\nTrue"), True),
        (Reply("<think>That must be True, since"), False),  # a limit cut it
        (
            Reply("True or False, that is asked.</think>\n\nTrue"),
            True,
        ),  # the chat template opened it
    ],
)
def test_true_and_false(reply: Reply, expected: bool) -> None:
    assert says_true(reply, threshold=0.5) is expected


def test_templates_reject_names_they_do_not_know(tmp_path) -> None:
    with pytest.raises(Exception, match="wrong"):
        Template("t", "{{ wrong }}").render(names=[])
    with pytest.raises(ValueError, match="missing"):
        read_templates(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("judge", "{{ captoin }}", r"template judge\.txt: 'captoin' is undefined; allowed are names, count and"),
        ("check", "{{ count / 0 }}", r"template check\.txt: division by zero"),
        ("compose", "{{ names[0] + 1 }}", r"template compose\.txt: can only concatenate"),
        ("feasible", "{% include 'x' %}", r"template feasible\.txt: no loader"),
    ],
)  # fmt: skip
def test_a_template_with_a_fault_is_refused_before_anything_is_asked(
    tmp_path, name, text, message
) -> None:
    shutil.copytree(ROOT / "data/templates", tmp_path / "t")
    (tmp_path / "t/notes.txt").write_text("{{ labels }}")  # which nobody uses
    assert read_templates(tmp_path / "t")
    (tmp_path / f"t/{name}.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_templates(tmp_path / "t")


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


def test_of_what_nobody_writes_about_nobody_asks(tmp_path) -> None:
    assert dialogue(dataclasses.replace(PLAN, rounds=0), tmp_path) == []


def test_the_conversation_goes_on_from_the_feasibility_question(tmp_path) -> None:
    turn = next(turn for turn in dialogue(PLAN, tmp_path) if turn.source == "multi")
    assert [role for role, _ in turn.request.messages] == ["user", "assistant", "user"]


def test_challenge_groups_collapse() -> None:
    groups = [("person", "dog", "cup"), ("dog", "cup"), ("person", "bus")]
    assert challenge_groups(groups, ["dog", "cup"]) == [("dog", "cup")]


class Says:
    """An engine with one answer to every question."""

    identity: ClassVar[dict[str, str]] = {"engine": "says", "model": "", "revision": ""}

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def answer(self, requests):
        for i, _ in enumerate(requests):
            yield i, Reply(self._texts[i % len(self._texts)])


def judged(tmp_path, *texts: str) -> list[bool]:
    templates = read_templates(ROOT / "data/templates")
    with Journal(tmp_path / "j.sqlite") as journal:
        talk = Dialogue(lambda: Says(*texts), journal, templates, seed=0)
        found = talk.judge(["a dog", "a cat"], threshold=0.5, sampling=GREEDY)
    return [keep for *_, keep in found]


def test_answers_without_a_verdict_are_told_and_none_at_all_are_refused(tmp_path, capsys) -> None:
    assert judged(tmp_path / "a", "True", "<think>It might") == [True, False]
    assert (
        "judge: 1 of 2 answers say neither True nor False, such as '<think>"
        in capsys.readouterr().out
    )
    with pytest.raises(InputError, match=r"2 of 2 answers .*switch thinking off"):
        judged(tmp_path / "b", "<think>It might")


def test_one_unclear_verdict_among_clear_ones_stops_nothing_wherever_it_stands(
    tmp_path, capsys
) -> None:
    templates = read_templates(ROOT / "data/templates")
    says = Says("True", "True", "Yes, it is fine.")
    with Journal(tmp_path / "j.sqlite") as journal:
        talk = Dialogue(lambda: says, journal, templates, seed=0)
        talk.judge(["a dog", "a cat"], threshold=0.5, sampling=GREEDY)
        says._texts = says._texts[2:]
        ((_, _, keep),) = talk.judge(["a cup"], threshold=0.5, sampling=GREEDY)
    assert not keep and "1 of 1 answers say neither" in capsys.readouterr().out


def test_projects_of_two_seeds_share_no_question(tmp_path) -> None:
    templates = read_templates(ROOT / "data/templates")
    asked: list[set] = []
    for seed in (0, 1, 2):
        with Journal(tmp_path / f"{seed}.sqlite") as journal:
            talk = Dialogue(lambda: Says("1. A dog."), journal, templates, seed=seed)
            turns = talk.caption(
                Plan("single", [("dog",)], rounds=4, sentences=2), feasibility=False, check=False,
                threshold=0.5, sampling=GREEDY, verdict_sampling=GREEDY,
            )  # fmt: skip
            asked.append({turn.request.seed for turn in turns})
    assert asked[0] == {0, 1, 2, 3} and len(asked[0] | asked[1] | asked[2]) == 12
