"""How one model's logits of windows become its logits of an image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clipworks.fusion import weighing
from clipworks.fusion.params import Ensemble
from clipworks.kit.shapes import Float, Int


@dataclass(frozen=True)
class Recipe:
    """How one model's logits of windows become its logits of an image."""

    global_weight: float
    window_weight: float
    local_weight: float
    captions: bool
    cooccurrence_weight: float
    similarity: bool
    variance: weighing.VarianceWeight
    aggregation: weighing.Aggregation
    threshold: float
    top_k: int
    temperature: float
    standardise: str  # "none", "image" or "windows"

    @staticmethod
    def of(params: Ensemble, model: str) -> "Recipe":
        """The recipe that params.yaml gives a model."""
        pick = lambda table: table.get(model, table["default"])  # noqa: E731
        return Recipe(
            global_weight=1.0,
            window_weight=params.window_weight,
            local_weight=pick(params.local_weight),
            captions=params.captions,
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
    logits: Float[Tensor, "image window kind class"],
    similarities: Float[Tensor, "image window nearest"],
    recipe: Recipe,
    conditional: Float[Tensor, "class class"],
) -> Float[Tensor, "image class"]:
    """g·global + w·fused global windows + k·(local + w·fused local windows); g is 1 but for one row."""
    both, local = _branches(logits, recipe, conditional)
    total = recipe.global_weight * both[:, 0]
    if recipe.local_weight:
        total = total + recipe.local_weight * local[:, 0]
    if recipe.window_weight and logits.shape[1] > 1:
        total = total + recipe.window_weight * _fuse(both, similarities, recipe)
        if recipe.local_weight:
            fused = _fuse(local, similarities, recipe)
            total = total + recipe.window_weight * recipe.local_weight * fused
    return _standardised(total) if recipe.standardise == "image" else total


def spoken(
    logits: Float[Tensor, "image window kind class"],
    similarities: Float[Tensor, "image window nearest"],
    recipe: Recipe,
    conditional: Float[Tensor, "class class"],
) -> Float[Tensor, "image other class"]:
    """What each window but the first, the whole image, says for each class: weighted logits, global
    and local."""
    both, local = _branches(logits, recipe, conditional)
    found = _weigh(both, similarities, recipe)
    if recipe.local_weight:
        found = found + recipe.local_weight * _weigh(local, similarities, recipe)
    return found


def deciding_window(spoken: Float[Tensor, "image other class"]) -> Int[Tensor, "image class"]:
    """The window that says most for each class; 0, the whole image, only where there is no other."""
    if not spoken.shape[1]:
        return torch.zeros(len(spoken), spoken.shape[-1], dtype=torch.long)
    return spoken.argmax(dim=1) + 1


def _branches(logits: Tensor, recipe: Recipe, conditional: Tensor) -> tuple[Tensor, Tensor]:
    """Global and local logits with everything that changes them before windows are fused."""
    both, local = logits[:, :, 0 if recipe.captions else 2], logits[:, :, 1]
    if recipe.cooccurrence_weight:
        local = weighing.add_cooccurrence(local, conditional, recipe.cooccurrence_weight)
    if recipe.standardise == "windows":
        both, local = _standardised(both), _standardised(local)
    return both, local


def _weigh(logits: Tensor, similarities: Tensor, recipe: Recipe) -> Tensor:
    return weighing.weigh_windows(
        logits[:, 1:], similarities[:, 1:], similarity=recipe.similarity, variance=recipe.variance
    )


def _fuse(logits: Tensor, similarities: Tensor, recipe: Recipe) -> Tensor:
    return weighing.aggregate(
        _weigh(logits, similarities, recipe),
        recipe.aggregation,
        threshold=recipe.threshold,
        top_k=recipe.top_k,
        temperature=recipe.temperature,
    )


def _standardised(logits: Tensor) -> Tensor:
    """Two classes stay as they are: standardised, nothing would be left but which of them is the higher."""
    return weighing.standardise(logits) if logits.shape[-1] > 2 else logits
