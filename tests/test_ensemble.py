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


def test_routes_may_be_lists_weights_or_an_average(tmp_path) -> None:
    names = ["a", "b", "c"]
    assert routing.route(params(routing="lists", lists=lists(tmp_path, {"ema": ["b"]})), names, AP)[
        "b"
    ] == {"ema": 1.0}
    assert routing.route(params(routing="average"), names, AP)["a"] == {"base": 0.5, "ema": 0.5}
    shares = routing.route(params(routing="weights", weights={"base": 3, "ema": 1}), names, AP)["a"]
    assert shares == {"base": 0.75, "ema": 0.25}
    for listed, message in (
        ({"ema": ["z"]}, "'z' is not in"),
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
    found = recipes.deciding_window(logits, sims, recipe, matrix)
    assert torch.equal(found, spoken.argmax(dim=1) + 1)
    alone = recipes.deciding_window(logits[:, :1], sims[:, :1], recipe, matrix)
    assert alone.shape == (2, 6) and not alone.any()


def test_an_image_that_could_not_be_scored_keeps_its_row_in_the_submission() -> None:
    logits = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    found = leaderboard.submission(["a", "broken", "b"], ["a", "b"], logits)
    assert found == [[1.0, -1.0], [0.5, -1.0], [0.5, 2.0]]
