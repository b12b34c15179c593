"""A recipe: which prompts, which pooling, which models; and what it says of the cached pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float
from clipworks.scenes import pooling
from clipworks.scenes.cache import AGAIN, Cache
from clipworks.scenes.params import Ensemble, Pooling
from clipworks.scenes.prompts import PromptSet


class Kept(BaseModel):
    """A recipe as JSON keeps it."""

    groups: list[str]
    pooling: Pooling
    scale: float
    sharpen: dict[str, float]
    weights: dict[str, float]
    drop: float


class Choices(BaseModel):
    """The recipe of params.yaml, and what each label-free rule chose, by its name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Kept] = Field(init=False)
    fixed: Kept


@dataclass(frozen=True)
class Recipe:
    """Everything that is decided after the towers have run."""

    groups: tuple[str, ...]
    pooling: Pooling
    scale: float
    sharpen: Mapping[str, float]
    weights: Mapping[str, float]
    drop: float

    @classmethod
    def of(cls, params: Ensemble) -> "Recipe":
        """The recipe that params.yaml writes down."""
        parts = (params.pooling, params.scale, params.sharpen, params.weights, params.drop)
        return cls(tuple(params.groups), *parts)

    @classmethod
    def load(cls, content: dict[str, Any]) -> "Recipe":
        """Read what `dataclasses.asdict` made of a recipe and JSON kept (`Kept`)."""
        return cls(**{**content, "groups": tuple(content["groups"])})


def apply(recipe: Recipe, cache: Cache, prompts: PromptSet) -> Float[np.ndarray, "image class"]:
    """Class probabilities, rows summing to 1; rows of 0 where a drop left nothing.

    Raises:
        InputError: a group, a model or a factor that is not there.
    """
    if unknown := sorted(set(recipe.weights) - set(cache.models)):
        raise InputError(f"ensemble.weights names {unknown}; the models are {cache.models}")
    rows = prompts.rows(recipe.groups)
    owner = prompts.owner[rows]
    models = [model for model, weight in recipe.weights.items() if weight > 0]
    weights = [recipe.weights[model] for model in models]
    for model in models:
        if (there := len(cache.texts(model))) != len(prompts.texts):
            raise InputError(
                f"{cache.folder / model} is of {there} prompts, and there are {len(prompts.texts)}; {AGAIN}"
            )
    cosines = [cache.cosines(model, recipe.sharpen[model])[:, rows] for model in models]
    scale = recipe.scale
    if recipe.pooling == "shared_softmax":
        parts = [pooling.prompt_probabilities(values, scale) for values in cosines]
        mixed = pooling.mix(parts, weights)
        if recipe.drop:
            mixed = pooling.drop(mixed, recipe.drop)
        return pooling.to_one(pooling.class_means(mixed, owner))
    if recipe.pooling == "log_sum_exp":
        logits = [pooling.log_sum_exp(values, owner, scale) for values in cosines]
        return pooling.prompt_probabilities(pooling.mix(logits, weights), 1.0)
    texts = [cache.texts(model)[rows] for model in models]
    parts = [
        pooling.by_class(recipe.pooling, values, text, owner, scale)
        for values, text in zip(cosines, texts, strict=True)
    ]
    return pooling.to_one(pooling.mix(parts, weights))
