"""From many prompts to one probability a class: against obvious code, and where the rules part."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from clipworks.scenes import cache, pooling, rows
from clipworks.scenes.cache import Cache
from clipworks.scenes.params import Ensemble
from clipworks.scenes.prompts import PromptSet
from clipworks.scenes.recipes import Recipe, apply

OWNER = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
UNEQUAL = np.array([0, 1, 1, 1, 1, 2])
SETTINGS = {
    "groups": ["name", "own"],
    "pooling": "shared_softmax",
    "scale": 20.0,
    "sharpen": {"a": 1.0, "b": 2.0},
    "weights": {"a": 0.5, "b": 0.5},
    "drop": 0.0,
    "drop_tried": 0.002,
    "choice": "fixed",
    "steps": 4,
}


def cosines(images: int = 40, prompts: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, (images, prompts)).astype(np.float32)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values.astype(np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("owner", [OWNER, UNEQUAL])
def test_poolings_equal_loops_over_classes(owner: np.ndarray) -> None:
    found = cosines(prompts=len(owner))
    texts = np.random.default_rng(1).normal(size=(len(owner), 5))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    images = np.random.default_rng(2).normal(size=(40, 5))
    exact = images @ texts.T
    shared = softmax(20 * found)
    means = [[row[owner == c].mean() for c in range(3)] for row in shared]
    got = pooling.class_means(pooling.prompt_probabilities(found, 20.0), owner)
    np.testing.assert_allclose(got, means, atol=1e-6)
    average = np.stack([texts[owner == c].mean(axis=0) for c in range(3)])
    average /= np.linalg.norm(average, axis=1, keepdims=True)
    expected = softmax(20 * images @ average.T)
    np.testing.assert_allclose(
        pooling.embedding_mean(exact, texts, owner, 20.0), expected, atol=1e-6
    )
    soft = [
        [np.log(np.exp(20 * r[owner == c].astype(float)).mean()) for c in range(3)] for r in found
    ]
    np.testing.assert_allclose(pooling.log_sum_exp(found, owner, 20.0), soft, atol=1e-5)
    np.testing.assert_array_equal(np.argmax(soft, axis=1), np.argmax(got, axis=1))


def test_template_softmax_is_the_mean_of_each_templates_softmax() -> None:
    found = cosines()
    expected = np.mean([softmax(20 * found[:, [t, 3 + t, 6 + t]]) for t in range(3)], axis=0)
    np.testing.assert_allclose(pooling.template_softmax(found, OWNER, 20.0), expected, atol=1e-6)


def test_one_prompt_that_fits_very_well_carries_its_class_only_where_the_normaliser_is_shared() -> (
    None
):
    # Class 0 fits everywhere a little, class 1 at one prompt alone, class 2 nowhere.
    found = np.array([[0.25, 0.25, 0.25, 0.4, -0.2, -0.2, -0.3, -0.3, -0.3]])
    shared = pooling.by_class("shared_softmax", found, np.eye(9), OWNER, 100.0)
    templates = pooling.by_class("template_softmax", found, np.eye(9), OWNER, 100.0)
    means = pooling.by_class("embedding_mean", found, np.eye(9), OWNER, 100.0)
    assert (shared.argmax(), templates.argmax(), means.argmax()) == (1, 0, 0)


def test_mixing_goes_before_or_after_pooling_but_a_drop_does_not() -> None:
    one, other = (pooling.prompt_probabilities(cosines(seed=s), 20.0) for s in (0, 1))
    pooled = pooling.class_means(pooling.mix([one, other], [3.0, 1.0]), OWNER)
    parts = [pooling.class_means(part, OWNER) for part in (one, other)]
    np.testing.assert_allclose(pooled, pooling.mix(parts, [0.75, 0.25]), atol=1e-6)
    late = pooling.drop(pooling.mix([one, other], [1.0, 1.0]), 0.1)
    early = pooling.mix([pooling.drop(one, 0.1), pooling.drop(other, 0.1)], [1.0, 1.0])
    assert np.abs(late - early).max() > 0.01
    np.testing.assert_array_equal(pooling.drop(one, 0.0), one)


def test_a_drop_of_everything_leaves_no_label() -> None:
    nothing = pooling.class_means(
        pooling.drop(pooling.prompt_probabilities(cosines(), 20.0), 1.0), OWNER
    )
    assert set(pooling.decide(nothing)) == {pooling.NO_LABEL}


@pytest.fixture
def stored(tmp_path) -> tuple[Cache, PromptSet]:
    """Two models and two factors over 12 pictures of three classes."""
    prompts = PromptSet(
        ("x", "y", "z"), tuple("abcdefghi"), tuple(OWNER.tolist()), ("name", "own", "own") * 3
    )
    rng = np.random.default_rng(0)
    for number, model in enumerate("ab"):
        texts = rng.normal(size=(9, 4)).astype(np.float32)
        texts /= np.linalg.norm(texts, axis=1, keepdims=True)
        images = rng.normal(size=(2, 12, 4)).astype(np.float32)
        cache.write(tmp_path / model, "test", [1.0, 2.0], images / 3 + number, texts)
    return Cache(tmp_path, "test"), prompts


def test_every_row_is_stored_as_it_was_computed(stored, tmp_path) -> None:
    """safetensors keeps memory, not strides: rows of every pooling come back as they went."""
    found, prompts = stored
    params = Ensemble.model_validate(SETTINGS)
    for how in ("shared_softmax", "template_softmax", "embedding_mean", "log_sum_exp"):
        recipe = Recipe.of(params.model_copy(update={"pooling": how}))
        line = rows.Row(rows.MAIN, "", "", recipe)
        scored, skipped = rows.score([line], found, prompts)
        save_file(scored, str(tmp_path / "rows.safetensors"))
        again = load_file(str(tmp_path / "rows.safetensors"))[rows.MAIN]
        np.testing.assert_allclose(again, apply(recipe, found, prompts), atol=1e-6)
        np.testing.assert_allclose(again.sum(axis=1), 1, atol=1e-5)
        assert skipped == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sharpen": {"a": 1.5, "b": 2.0}}, r"ensemble\.sharpen\.a: factor 1\.5 is not cached"),
        ({"weights": {"c": 1.0}, "sharpen": {"c": 1.0}}, r"names \['c'\]; the models are \['a', 'b'\]"),
        ({"groups": ["blur"]}, r"no prompt group \['blur'\]"),
    ],
)  # fmt: skip
def test_a_recipe_of_what_is_not_cached_is_refused(stored, change, message) -> None:
    recipe = Recipe.of(Ensemble.model_validate({**SETTINGS, **change}))
    with pytest.raises(ValueError, match=message):
        apply(recipe, *stored)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {"a": 1.0}}, "must name the same models"),
        ({"weights": {"a": 0.0, "b": 0.0}}, "not all 0"),
        ({"drop": 0.01, "pooling": "embedding_mean"}, "drop is defined for pooling shared_softmax"),
    ],
)
def test_params_that_contradict_each_other_are_refused(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble.model_validate({**SETTINGS, **change})


def test_a_drop_that_leaves_a_picture_without_a_label_names_it(stored) -> None:
    found, prompts = stored
    recipe = Recipe.of(Ensemble.model_validate({**SETTINGS, "drop": 0.999}))
    scored, _ = rows.score([rows.Row(rows.MAIN, "", "", recipe)], found, prompts)
    with pytest.raises(ValueError, match=r"drops all probabilities of 12 of 12 pictures \(0\.jpg"):
        rows.check_labels(scored, [f"{i}.jpg" for i in range(12)])


def test_no_model_at_all_names_the_stage_to_run(tmp_path) -> None:
    with pytest.raises(ValueError, match="run `dvc repro probabilities`"):
        Cache(tmp_path, "test")
