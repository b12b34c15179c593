"""Choosing sharpening and weights, with labels or without.

Five rules need no label; all look at the probabilities that a setting gives:

- `confidence`: mean of the largest probability;
- `information`: entropy of the mean minus mean entropy, that is confident and of many kinds (the
  mutual information of picture and class, RIM, Gomes and others 2010); it expects classes of
  similar frequency;
- `agreement`: how often the label is the one of each single model (or, for a single model, of the
  others);
- `consistency`: how often the label stays when all sharpening moves to a neighbouring factor;
- `consensus`: how often the label is the one of the mean over all models at all cached factors.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import entr

from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float, Int
from clipworks.scenes import pooling
from clipworks.scenes.cache import AGAIN, Cache
from clipworks.scenes.params import Ensemble
from clipworks.scenes.prompts import PromptSet
from clipworks.scenes.recipes import Recipe, apply

RULES = ("confidence", "information", "agreement", "consistency", "consensus")
MOST = 3_003  # weights that a choice tries: six models in ten steps
Objective = Callable[[Recipe], float]  # larger is better


def information(probabilities: Float[np.ndarray, "image class"]) -> float:
    """Entropy of the mean minus mean entropy, in nats; a row of zeros is no answer, and all unsure."""
    empty = ~probabilities.any(axis=1, keepdims=True)
    probabilities = np.where(empty, 1 / probabilities.shape[1], probabilities)
    return float(entr(probabilities.mean(axis=0)).sum() - entr(probabilities).sum(axis=1).mean())


def agree(some: Int[np.ndarray, " image"], others: Int[np.ndarray, " image"]) -> float:
    """The share of pictures with one answer; to have none is no agreement."""
    return float(((some == others) & (some != pooling.NO_LABEL)).mean())


def objective(rule: str, start: Recipe, cache: Cache, prompts: PromptSet) -> Objective:
    """What a rule thinks of a recipe, on the pictures of a split; `start` says what it keeps."""

    def labels(recipe: Recipe) -> np.ndarray:
        return pooling.decide(apply(recipe, cache, prompts))

    def confidence(recipe: Recipe) -> float:
        return float(apply(recipe, cache, prompts).max(axis=1).mean())

    def agreement(recipe: Recipe) -> float:
        own = labels(recipe)
        alone = [model for model, weight in recipe.weights.items() if weight > 0]
        # A model alone is held against the others; an ensemble against each of its models.
        others = [m for m in recipe.sharpen if len(alone) > 1 or m not in alone]
        if not others:
            return 0.0
        return float(np.mean([agree(own, labels(single(recipe, m))) for m in others]))

    def consistency(recipe: Recipe) -> float:
        own = labels(recipe)
        moved = [shifted(recipe, cache, step) for step in (-1, 1)]
        return float(np.mean([agree(own, labels(other)) for other in moved]))

    if rule == "consensus":
        return accuracy(cache, prompts, consensus(start, cache, prompts))
    return {
        "confidence": confidence,
        "information": lambda recipe: information(apply(recipe, cache, prompts)),
        "agreement": agreement,
        "consistency": consistency,
    }[rule]


def consensus(start: Recipe, cache: Cache, prompts: PromptSet) -> Int[np.ndarray, " image"]:
    """What the mean over all models at all cached factors says: labels that nobody gave."""
    seen = [
        apply(
            single(replace(start, sharpen={**start.sharpen, model: factor}), model), cache, prompts
        )
        for model in start.sharpen
        for factor in cache.factors(model)
    ]
    return pooling.decide(np.mean(seen, axis=0))


def accuracy(cache: Cache, prompts: PromptSet, labels: Int[np.ndarray, " image"]) -> Objective:
    """The share of right labels, for a choice on a labelled split.

    Raises:
        InputError: there are other numbers of labels and of pictures.
    """
    if len(labels) != cache.images:
        raise InputError(
            f"{cache.folder} is of {cache.images} pictures of the {cache.split} split, and {len(labels)} have "
            f"labels; {AGAIN}"
        )
    return lambda recipe: agree(pooling.decide(apply(recipe, cache, prompts)), labels)


def single(recipe: Recipe, model: str) -> Recipe:
    """One model of a recipe, alone."""
    return replace(recipe, weights={model: 1.0})


def shifted(recipe: Recipe, cache: Cache, step: int) -> Recipe:
    """Every model at its next cached factor, where there is one."""
    moved = {}
    for model, factor in recipe.sharpen.items():
        factors = cache.factors(model)
        place = min(max(factors.index(factor) + step, 0), len(factors) - 1)
        moved[model] = factors[place]
    return replace(recipe, sharpen=moved)


def neutral(recipe: Recipe, cache: Cache) -> Recipe:
    """Where a choice begins: the smallest cached sharpening and equal weights."""
    return replace(
        recipe,
        sharpen={model: cache.factors(model)[0] for model in recipe.sharpen},
        weights=dict.fromkeys(recipe.weights, 1.0),
    )


def shares(models: Sequence[str], steps: int) -> Iterator[dict[str, float]]:
    """All weights in steps of 1 / steps that sum to 1."""
    # Where the bars stand among steps and bars, in the order of the parts between them.
    for bars in itertools.combinations(range(steps + len(models) - 1), len(models) - 1):
        ends = [-1, *bars, steps + len(models) - 1]
        parts = [after - before - 1 for before, after in itertools.pairwise(ends)]
        yield dict(zip(models, (part / steps for part in parts), strict=True))


def check_many(models: int, steps: int) -> None:
    """Raises InputError where all weights are too many to try: five rules do so."""
    many = math.comb(steps + models - 1, models - 1)
    if many > MOST:
        raise InputError(
            f"ensemble.steps: {models} models in {steps} steps are {many:,} weights to try, more than {MOST:,}; "
            "lower it"
        )


def choose(want: Objective, start: Recipe, cache: Cache, *, steps: int) -> Recipe:
    """Each model's sharpening on its own, then the weights; the first of equals wins.

    Equal weights come first among the weights, so that a rule that sees no difference changes
    nothing.
    """
    begin = neutral(start, cache)
    factors: Mapping[str, float] = {
        model: max(
            cache.factors(model),
            key=lambda f, m=model: want(  # type: ignore[misc]
                single(replace(begin, sharpen={**begin.sharpen, m: f}), m)
            ),
        )
        for model in begin.sharpen
    }
    sharp = replace(begin, sharpen=factors)
    even = 1 / len(sharp.weights)
    tried = sorted(
        shares(list(sharp.weights), steps), key=lambda w: sum(abs(v - even) for v in w.values())
    )
    return max((replace(sharp, weights=weights) for weights in tried), key=want)


def without_labels(params: Ensemble, cache: Cache, prompts: PromptSet) -> dict[str, Recipe]:
    """What each rule chooses on pictures without labels."""
    start = Recipe.of(params)
    return {
        rule: choose(objective(rule, start, cache, prompts), start, cache, steps=params.steps)
        for rule in RULES
    }
