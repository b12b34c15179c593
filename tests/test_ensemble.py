"""The ensemble: formulas, routes, what decided, and the submission's order."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clipworks.fusion import leaderboard, recipes, routing, weighing
from clipworks.fusion.params import Ensemble
from clipworks.fusion.recipes import Recipe
from clipworks.kit.errors import InputError
from clipworks.kit.params import load

ROOT = Path(__file__).parent.parent


def params(**changes: object) -> Ensemble:
    return load("ensemble", Ensemble, ROOT / "params.yaml").model_copy(update=changes)


def test_a_models_logits_follow_the_formula() -> None:
    logits, sims = torch.randn(2, 5, 2, 6), torch.rand(2, 5, 10)
    matrix = torch.rand(6, 6)
    recipe = Recipe.of(params(), "base")
    local = logits[:, :, 1] + 0.5 * logits[:, :, 1] @ matrix

    def fused(values: torch.Tensor) -> torch.Tensor:
        weighted = weighing.weigh_windows(
            values[:, 1:], sims[:, 1:], similarity=True, variance="twice"
        )
        return weighing.aggregate(weighted, "max_or_min", threshold=0.2)

    expected = (
        logits[:, 0, 0] + 1.5 * fused(logits[:, :, 0]) + 1.5 * (local[:, 0] + 1.5 * fused(local))
    )
    torch.testing.assert_close(recipes.model_logits(logits, sims, recipe, matrix), expected)
    whole = recipes.model_logits(
        logits, sims, replace(Recipe.of(params(), "ema"), window_weight=0.0), matrix
    )
    torch.testing.assert_close(whole, logits[:, 0, 0] + logits[:, 0, 1])


AP = {"base": np.array([0.9, 0.5, np.nan]), "ema": np.array([0.905, 0.9, 0.3])}


def test_routes_follow_held_out_captions_with_a_margin() -> None:
    routes = routing.route(
        params(routing="held_out", routing_margin=0.01, default_model="base"), ["a", "b", "c"], AP
    )
    assert routes == {"a": {"base": 1.0}, "b": {"ema": 1.0}, "c": {"ema": 1.0}}


def lists(folder: Path, routes: dict[str, list[str]]) -> str:
    (folder / "lists.yaml").write_text(json.dumps({"routes": routes}))
    return str(folder / "lists.yaml")


def test_held_out_figures_are_read_in_the_order_of_the_classes(tmp_path) -> None:
    path = tmp_path / "held_out.json"
    path.write_text(json.dumps({"class_ap": {"cat": None, "dog": 0.25, "cup": 0.5}}))
    found = routing.read_ap(path, ["dog", "cat", "cup"], "ema")
    np.testing.assert_array_equal(found, [0.25, np.nan, 0.5])
    with pytest.raises(InputError, match=r"held_out.json says nothing of \['cow'\].*train@ema"):
        routing.read_ap(path, ["dog", "cow"], "ema")


def test_routes_may_be_lists_weights_or_an_average(tmp_path) -> None:
    names = ["a", "b", "c"]
    assert routing.route(params(routing="lists", lists=lists(tmp_path, {"ema": ["B"]})), names, AP)[
        "b"
    ] == {"ema": 1.0}
    assert routing.route(params(routing="average"), names, AP)["a"] == {"base": 0.5, "ema": 0.5}
    shares = routing.route(params(routing="weights", weights={"base": 3, "ema": 1}), names, AP)["a"]
    assert shares == {"base": 0.75, "ema": 0.25}
    for listed, message in (
        ({"ema": ["z"]}, "no class 'z' in"),
        ({"gone": ["a"]}, "no model 'gone'"),
        ({"ema": ["a"], "base": ["a"]}, "stands at"),
    ):
        with pytest.raises(ValueError, match=message):
            routing.route(params(routing="lists", lists=lists(tmp_path, listed)), names, AP)


def test_combining_takes_each_class_from_its_models() -> None:
    by_model = {"base": torch.tensor([[1.0, 2.0]]), "ema": torch.tensor([[3.0, 4.0]])}
    routes = {"a": {"ema": 1.0}, "b": {"base": 0.5, "ema": 0.5}}
    torch.testing.assert_close(routing.combine(by_model, routes), torch.tensor([[3.0, 3.0]]))


def test_routing_by_weights_needs_a_weight() -> None:
    with pytest.raises(ValueError, match=r"ensemble\.weights: \{\}: give at least one of"):
        routing.route(params(routing="weights", weights={}), ["a", "b", "c"], AP)


def test_the_window_that_decides_has_the_highest_weighted_logits() -> None:
    torch.manual_seed(0)
    logits, sims, matrix = torch.randn(2, 5, 2, 6), torch.rand(2, 5, 10), torch.rand(6, 6)
    recipe = Recipe.of(params(), "ema")  # variance once, local weight 1, no co-occurrence
    close = 1 + sims.mean(-1)[:, 1:, None, None]
    weighted = close * logits[:, 1:]
    spoken = (weighted * (1 + weighted.var(-1, keepdim=True))).sum(dim=2)
    found = recipes.spoken(logits, sims, recipe, matrix)
    torch.testing.assert_close(found, spoken)
    assert torch.equal(recipes.deciding_window(found), spoken.argmax(dim=1) + 1)
    alone = recipes.deciding_window(recipes.spoken(logits[:, :1], sims[:, :1], recipe, matrix))
    assert alone.shape == (2, 6) and not alone.any()


def test_an_image_that_could_not_be_scored_keeps_its_row_in_the_submission() -> None:
    logits = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    found = leaderboard.submission(["a", "broken", "b"], ["a", "b"], logits)
    assert found == [[1.0, -1.0], [0.5, -1.0], [0.5, 2.0]]


def plain(**changes: object) -> Recipe:
    """A recipe that adds up global and local logits and takes the maximum of the windows."""
    recipe = Recipe(
        global_weight=1.0, window_weight=0.0, local_weight=1.0, captions=True, cooccurrence_weight=0.0,
        similarity=False, variance="none", aggregation="max", threshold=0.0, top_k=1,
        temperature=1.0, standardise="none",
    )  # fmt: skip
    return replace(recipe, **changes)


# One image, three windows, logits of two classes: global, local, and global without captions.
LOGITS = torch.tensor(
    [
        [
            [[1.0, 2.0], [10.0, 20.0], [5.0, 6.0]],
            [[3.0, 0.0], [0.0, 50.0], [7.0, 7.0]],
            [[5.0, -1.0], [30.0, 0.0], [8.0, 9.0]],
        ]
    ]
)
ALIKE, MATRIX = torch.zeros(1, 3, 2), torch.tensor([[0.0, 0.5], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [11.0, 22.0]),
        ({"global_weight": 0.0}, [10.0, 20.0]),
        ({"captions": False}, [15.0, 26.0]),
        ({"global_weight": 2.0, "local_weight": 0.0}, [2.0, 4.0]),
        ({"local_weight": 3.0}, [31.0, 62.0]),
        ({"window_weight": 2.0, "local_weight": 0.0}, [11.0, 2.0]),
        ({"window_weight": 2.0, "local_weight": 3.0}, [31.0 + 10 + 180, 62.0 + 0 + 300]),
        # Local logits gain what the other class gives: 10 + 20, 20 + 0.5 · 10.
        ({"cooccurrence_weight": 1.0}, [31.0, 27.0]),
        # Of two classes nothing would be left but which of them is the higher.
        ({"standardise": "image"}, [11.0, 22.0]),
        ({"standardise": "windows"}, [11.0, 22.0]),
    ],
)
def test_a_models_logits_by_hand(changes, expected) -> None:
    found = recipes.model_logits(LOGITS, ALIKE, plain(**changes), MATRIX)
    torch.testing.assert_close(found, torch.tensor([expected]))


@pytest.mark.parametrize(
    ("how", "expected"), [("image", [-1.0, 1.0, 0.0]), ("windows", [-2.0, 2.0, 0.0])]
)
def test_logits_of_three_classes_are_standardised_by_hand(how, expected) -> None:
    logits = torch.cat([LOGITS, LOGITS.mean(dim=-1, keepdim=True)], dim=-1)
    found = recipes.model_logits(logits, ALIKE, plain(standardise=how), torch.zeros(3, 3))
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_an_image_without_windows_is_judged_whole() -> None:
    recipe = plain(window_weight=2.0)
    found = recipes.model_logits(LOGITS[:, :1], ALIKE[:, :1], recipe, MATRIX)
    assert found.tolist() == [[11.0, 22.0]]


def test_the_deciding_window_by_hand() -> None:
    def decides(**how: object) -> list[list[int]]:
        spoken = recipes.spoken(LOGITS, ALIKE, plain(**how), MATRIX)
        return recipes.deciding_window(spoken).tolist()

    assert decides() == [[2, 1]]  # 3 or 35, 50 or -1
    assert decides(local_weight=0.0) == [[2, 1]]
    assert decides(local_weight=-1.0) == [[1, 2]]
    # With the other class's share, local logits are 50 and 50, then 30 and 15.
    assert decides(cooccurrence_weight=1.0) == [[1, 1]]
    alone = recipes.spoken(LOGITS[:, :1], ALIKE[:, :1], plain(), MATRIX)
    alone = recipes.deciding_window(alone)
    assert alone.tolist() == [[0, 0]] and alone.dtype == torch.long


def test_a_recipe_is_what_params_say_of_its_model() -> None:
    chosen = params(
        window_weight=1.25, local_weight={"default": 0.5, "base": 0.75}, captions=False, cooccurrence_weight=0.3,
        cooccurrence_models=["base"], similarity=False, variance={"default": "none", "ema": "once"},
        aggregation="top_k", threshold=0.1, top_k=7, temperature=2.0, standardise="windows",
    )  # fmt: skip
    assert Recipe.of(chosen, "base") == Recipe(
        1.0, 1.25, 0.75, False, 0.3, False, "none", "top_k", 0.1, 7, 2.0, "windows"
    )
    assert Recipe.of(chosen, "ema") == Recipe(
        1.0, 1.25, 0.5, False, 0.0, False, "once", "top_k", 0.1, 7, 2.0, "windows"
    )


def test_a_route_leaves_the_default_model_for_more_than_the_margin_only() -> None:
    ap = {"base": np.array([0.5, 0.5, np.nan]), "ema": np.array([0.75, 0.76, 0.26])}
    chosen = params(routing="held_out", routing_margin=0.25, default_model="base")
    assert routing.route(chosen, ["a", "b", "c"], ap) == {
        "a": {"base": 1.0},  # exactly the margin
        "b": {"ema": 1.0},
        "c": {"ema": 1.0},  # nothing is known of base: it counts as 0
    }
    with pytest.raises(ValueError, match=r"no model 'gone'; there are \['base', 'ema'\]"):
        routing.route(params(default_model="gone"), ["a", "b", "c"], ap)
    with pytest.raises(ValueError, match="no model 'diff'"):
        routing.route(params(routing="weights", weights={"diff": 1}), ["a"], ap)


def test_listed_classes_leave_the_default_model_and_the_others_stay(tmp_path) -> None:
    chosen = params(
        routing="lists", lists=lists(tmp_path, {"ema": ["b"], "base": ["c"]}), default_model="ema"
    )
    assert routing.route(chosen, ["a", "b", "c"], AP) == {
        "a": {"ema": 1.0},
        "b": {"ema": 1.0},
        "c": {"base": 1.0},
    }
