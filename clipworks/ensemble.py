"""Logits of windows into one logit per image and class: each model's own, then the ensemble's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from clipworks import fusion
from clipworks.jaxshapes import Float, Int
from clipworks.params.ensemble import Ensemble


@dataclass(frozen=True)
class Recipe:
    """How one model's logits of windows become its logits of an image."""

    window_weight: float
    local_weight: float
    cooccurrence_weight: float
    similarity: bool
    variance: fusion.VarianceWeight
    aggregation: fusion.Aggregation
    threshold: float
    top_k: int
    temperature: float
    standardise: str  # "none", "image" or "windows"

    @staticmethod
    def of(params: Ensemble, model: str) -> "Recipe":
        """The recipe that params.yaml gives a model."""
        pick = lambda table: table.get(model, table["default"])  # noqa: E731
        return Recipe(
            window_weight=params.window_weight,
            local_weight=pick(params.local_weight),
            cooccurrence_weight=params.cooccurrence_weight
            if model in params.cooccurrence_models
            else 0.0,
            similarity=params.similarity,
            variance=pick(params.variance),
            aggregation=params.aggregation,
            threshold=params.threshold,
            top_k=params.top_k,
            temperature=params.temperature,
            standardise=params.standardise,
        )


def model_logits(
    logits: Float[Tensor, "image window 2 class"],
    similarities: Float[Tensor, "image window nearest"],
    recipe: Recipe,
    conditional: Float[Tensor, "class class"],
) -> Float[Tensor, "image class"]:
    """global + w·fused global windows + k·(local + w·fused local windows)."""
    both, local = _branches(logits, recipe, conditional)
    total = both[:, 0]
    if recipe.local_weight:
        total = total + recipe.local_weight * local[:, 0]
    if recipe.window_weight and logits.shape[1] > 1:
        total = total + recipe.window_weight * _fuse(both, similarities, recipe)
        if recipe.local_weight:
            fused = _fuse(local, similarities, recipe)
            total = total + recipe.window_weight * recipe.local_weight * fused
    return fusion.standardise(total) if recipe.standardise == "image" else total


def deciding_window(
    logits: Float[Tensor, "image window 2 class"],
    similarities: Float[Tensor, "image window nearest"],
    recipe: Recipe,
    conditional: Float[Tensor, "class class"],
) -> Int[Tensor, "image class"]:
    """The window whose weighted logits, global and local, are highest for each class.

    Window 0, the whole image, only where there is no other.
    """
    if logits.shape[1] == 1:
        return torch.zeros(len(logits), logits.shape[-1], dtype=torch.long)
    both, local = _branches(logits, recipe, conditional)
    spoken = _weigh(both, similarities, recipe)
    if recipe.local_weight:
        spoken = spoken + recipe.local_weight * _weigh(local, similarities, recipe)
    return spoken.argmax(dim=1) + 1


def _branches(logits: Tensor, recipe: Recipe, conditional: Tensor) -> tuple[Tensor, Tensor]:
    """Global and local logits with everything that changes them before windows are fused."""
    both, local = logits[:, :, 0], logits[:, :, 1]
    if recipe.cooccurrence_weight:
        local = fusion.add_cooccurrence(local, conditional, recipe.cooccurrence_weight)
    if recipe.standardise == "windows":
        both, local = fusion.standardise(both), fusion.standardise(local)
    return both, local


def _weigh(logits: Tensor, similarities: Tensor, recipe: Recipe) -> Tensor:
    return fusion.weigh_windows(
        logits[:, 1:], similarities[:, 1:], similarity=recipe.similarity, variance=recipe.variance
    )


def _fuse(logits: Tensor, similarities: Tensor, recipe: Recipe) -> Tensor:
    return fusion.aggregate(
        _weigh(logits, similarities, recipe),
        recipe.aggregation,
        threshold=recipe.threshold,
        top_k=recipe.top_k,
        temperature=recipe.temperature,
    )


def route(
    params: Ensemble, class_names: Sequence[str], held_out_ap: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Which models decide each class, with weights that sum to 1.

    Args:
        held_out_ap: AP of each class on held-out captions, by model; nan where there is none.

    Raises:
        ValueError: a list names an unknown class or model, or one class at two models.
    """
    models = list(held_out_ap)
    _check_model(params.default_model, models)
    if params.routing == "average":
        return {name: {model: 1 / len(models) for model in models} for name in class_names}
    if params.routing == "weights":
        for model in params.weights:
            _check_model(model, models)
        total = sum(params.weights.values())
        if total <= 0:
            raise ValueError(
                f"ensemble.weights: {params.weights}: give at least one of {models} more than 0"
            )
        shares = {model: weight / total for model, weight in params.weights.items()}
        return {name: shares for name in class_names}
    routes = {name: {params.default_model: 1.0} for name in class_names}
    if params.routing == "lists":
        taken: dict[str, str] = {}
        for model, names in read_lists(Path(params.lists)).items():
            _check_model(model, models)
            for name in names:
                if name not in class_names:
                    raise ValueError(f"ensemble.lists.{model}: {name!r} is not in the class list")
                if name in taken:
                    raise ValueError(
                        f"ensemble.lists: {name!r} stands at {taken[name]} and {model}"
                    )
                taken[name] = model
                routes[name] = {model: 1.0}
        return routes
    for index, name in enumerate(class_names):
        # A class that no held-out caption names tells nothing of a model: it counts as AP 0.
        ap = {m: float(np.nan_to_num(values[index])) for m, values in held_out_ap.items()}
        best = max(ap, key=lambda model: ap[model])
        if ap[best] > ap[params.default_model] + params.routing_margin:
            routes[name] = {best: 1.0}
    return routes


def read_lists(path: Path) -> dict[str, list[str]]:
    """The part "routes" of a YAML file: the classes that each model decides."""
    if not path.exists():
        raise ValueError(f"ensemble.lists: {path} does not exist; allowed is a file with 'routes'")
    routes: dict[str, list[str]] = yaml.safe_load(path.read_text(encoding="utf-8")).get(
        "routes", {}
    )
    return routes


def _check_model(model: str, models: list[str]) -> None:
    if model not in models:
        raise ValueError(f"ensemble: no model {model!r}; there are {models}")


def combine(
    by_model: dict[str, Tensor], routes: dict[str, dict[str, float]]
) -> Float[Tensor, "image class"]:
    """Each class's logit from the models that decide it."""
    columns = []
    for index, shares in enumerate(routes.values()):
        columns.append(sum(weight * by_model[model][:, index] for model, weight in shares.items()))
    return torch.stack(columns, dim=1)  # type: ignore[arg-type]
