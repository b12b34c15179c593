"""Which classes are shown together, and what a reply says of them."""

from itertools import combinations as pairs

import pytest
from factory import labeller

from clipworks.kit.errors import InputError
from clipworks.writing import combinations


def test_rounds_cover_every_class_and_every_pair_as_far_as_they_go() -> None:
    names = [f"class {i}" for i in range(30)]
    rounds = combinations.draw_rounds(names, rounds=30, shown=10, seed=0)
    assert all(len(set(shown)) == 10 for shown in rounds)
    assert len({name for shown in rounds[:3] for name in shown}) == 30
    met = {frozenset(pair) for shown in rounds for pair in pairs(shown, 2)}
    assert len(met) == 30 * 29 / 2


def test_short_class_lists_are_shown_whole() -> None:
    rounds = combinations.draw_rounds(["a", "b", "c"], rounds=2, shown=10, seed=0)
    assert [sorted(shown) for shown in rounds] == [["a", "b", "c"], ["a", "b", "c"]]


def test_a_reply_gives_combinations_of_shown_classes_only() -> None:
    reply = "Here are some:\n1. man and puppy\n2. cup\n3. bus, car: a dog may be there\n4. zebra and dog\n5. dog, bus"
    found, dropped = combinations.read_reply(
        reply, ["person", "dog", "car", "cup", "bus"], labeller()
    )
    assert found == [("person", "dog"), ("car", "bus"), ("dog", "bus")]
    assert dropped["fewer_than_two"] == 2
    found, dropped = combinations.read_reply("1. dog and bus", ["dog", "cup"], labeller())
    assert found == [] and dropped == {"fewer_than_two": 1, "not_shown": 1}


def test_lists_within_a_list_are_combinations_and_none_at_all_are_refused(tmp_path) -> None:
    found = combinations.Collection()
    with pytest.raises(
        InputError, match=r"no combination of two classes was found .*replies holds"
    ):
        found.check(tmp_path / "replies")
    reply = '[["dog", "bus"], ["cup", "car"]]'
    found.add(*combinations.read_reply(reply, ["dog", "car", "cup", "bus"], labeller()))
    assert found.groups == [["dog", "bus"], ["car", "cup"]]
    found.check(tmp_path)


@pytest.mark.parametrize("reply", ["[" * 5_000, "[" + "7" * 6_000 + "]"])
def test_a_degenerate_reply_is_none(reply) -> None:
    found, _ = combinations.read_reply(reply, ["dog", "bus"], labeller())
    assert found == []
