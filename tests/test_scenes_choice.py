"""Choosing without labels, and figures that say how sure they are."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from clipworks.kit.errors import InputError
from clipworks.kit.params import load
from clipworks.scenes import cache, choice, rows, statistics, table
from clipworks.scenes.cache import Cache
from clipworks.scenes.params import Ensemble
from clipworks.scenes.prompts import PromptSet
from clipworks.scenes.recipes import Recipe

PROMPTS = PromptSet(("x", "y"), ("x", "y"), (0, 1), ("name", "name"))
START = Recipe(("name",), "shared_softmax", 10.0, {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, 0.0)


@pytest.fixture
def world(tmp_path) -> tuple[Cache, np.ndarray]:
    """Model a is right at factor 2 and poor at 1 and 4; model b is a little worse, and loudest at 4."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 600)
    signs = np.where(truth == 0, 1.0, -1.0)
    skill = {"a": {1.0: 0.3, 2.0: 1.2, 4.0: 0.3}, "b": {1.0: 0.5, 2.0: 0.8, 4.0: 0.0}}
    loud = {"a": 1.0, "b": 1.0}
    for model, factors in skill.items():
        values = np.stack([s * signs + rng.normal(size=600) for s in factors.values()])
        values[2] *= 5 if model == "b" else 1
        images = np.stack([values, -values], axis=-1) * 0.1 * loud[model]
        cache.write(tmp_path / model, "test", list(factors), images, np.eye(2))
    return Cache(tmp_path, "test"), truth


def test_labels_choose_the_best_factor_of_each_model(world) -> None:
    found, truth = world
    want = choice.accuracy(found, PROMPTS, truth)
    chosen = choice.choose(want, START, found, steps=4)
    assert chosen.sharpen == {"a": 2.0, "b": 2.0}
    assert want(chosen) > want(START)


def test_the_consensus_of_all_settings_finds_them_without_labels(world) -> None:
    found, truth = world
    chosen = choice.choose(
        choice.objective("consensus", START, found, PROMPTS), START, found, steps=4
    )
    want = choice.accuracy(found, PROMPTS, truth)
    assert chosen.sharpen["a"] == 2.0 and want(chosen) > want(START)


def test_confidence_falls_for_the_loudest(world) -> None:
    found, _ = world
    rule = choice.objective("confidence", START, found, PROMPTS)
    assert choice.choose(rule, START, found, steps=4).sharpen["b"] == 4.0


def test_a_rule_that_sees_no_difference_changes_nothing(world) -> None:
    found, _ = world
    chosen = choice.choose(lambda recipe: 0.0, START, found, steps=4)
    assert set(chosen.weights.values()) == {0.5} and set(chosen.sharpen.values()) == {1.0}


def test_information_is_highest_where_answers_are_sure_and_of_many_kinds() -> None:
    sure, same, unsure = np.eye(4), np.eye(4)[[0, 0, 0, 0]], np.full((4, 4), 0.25)
    assert choice.information(sure) == pytest.approx(np.log(4))
    assert choice.information(same) == pytest.approx(0) == choice.information(unsure)


def test_pictures_that_a_drop_leaves_without_an_answer_are_counted_with_their_class() -> None:
    truth, answers = np.array([0, 0, 0, 1]), np.array([0, -1, 1, 1])
    counts = table.confusion(truth, answers, ("sea", "farm"))
    found = table.per_class(counts, truth).set_index("class")
    assert found["pictures"].tolist() == [3, 1] and found["recall"].tolist() == [33.33, 100.0]


def test_no_answer_agrees_with_none_and_is_sure_of_nothing() -> None:
    assert choice.agree(np.array([0, -1, 1]), np.array([0, -1, 0])) == pytest.approx(1 / 3)
    even, none = np.full((3, 4), 0.25), np.zeros((1, 4))
    assert choice.information(np.concatenate([even, none])) == pytest.approx(0)


def test_the_contests_name_is_for_the_contests_recipe_alone() -> None:
    shipped = Path(__file__).parent.parent / "solutions/scenes/params.yaml"
    params = load("ensemble", Ensemble, shipped)
    chosen = dict.fromkeys(choice.RULES, Recipe.of(params))
    for change, told in (
        ({}, "all prompts and sharpening: the contest's recipe"),
        ({"pooling": "embedding_mean"}, "the recipe of params.yaml"),
        ({"drop": 0.02}, "the recipe of params.yaml"),
        ({"choice": "consensus"}, "the recipe that consensus chose"),
    ):
        listed = rows.rows(params.model_copy(update=change), chosen)
        assert next(row.what for row in listed if row.name == rows.MAIN) == told


def test_mcnemar_is_the_toss_of_a_coin_for_each_picture_that_differs() -> None:
    right = np.array([True] * 9 + [False] * 1 + [True] * 50)
    other = np.array([False] * 9 + [True] * 1 + [True] * 50)
    expected = 2 * sum(binom.pmf(k, 10, 0.5) for k in (0, 1))
    assert statistics.mcnemar(right, other) == pytest.approx(expected)
    assert statistics.mcnemar(right, right) == 1.0


def test_an_interval_holds_the_accuracy_and_narrows_with_pictures() -> None:
    few, many = (statistics.accuracy(np.arange(n) % 4 > 0, 0.95) for n in (40, 4000))
    assert few.low < few.accuracy == 75.0 == many.accuracy < few.high
    assert many.high - many.low < (few.high - few.low) / 5


@pytest.mark.parametrize(("models", "steps"), [(1, 3), (2, 4), (3, 3), (4, 2)])
def test_all_weights_are_tried_in_their_order(models: int, steps: int) -> None:
    names = list("abcd")[:models]
    obvious = [
        {n: part / steps for n, part in zip(names, parts, strict=True)}
        for parts in itertools.product(range(steps + 1), repeat=models)
        if sum(parts) == steps
    ]
    assert list(choice.shares(names, steps)) == obvious
    choice.check_many(6, 10)
    with pytest.raises(InputError, match=r"8 models in 10 steps are 19,448 weights to try"):
        choice.check_many(8, 10)


def test_models_of_another_params_file_do_not_count(world, tmp_path) -> None:
    found, _ = world
    rng = np.random.default_rng(0)
    cache.write(tmp_path / "aaa", "test", [1.0], rng.random((1, 3, 4)), rng.random((5, 4)))
    assert Cache(tmp_path, "test", ["a", "b"]).images == found.images == 600
