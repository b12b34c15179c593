"""The full ensemble taken apart: any combination of its ingredients, its test mAP and its seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.worldbench import Bench
from clipworks.clip import hand
from clipworks.fusion import recipes, routing
from clipworks.fusion.params import Ensemble
from clipworks.fusion.recipes import Recipe
from clipworks.kit.params import MODELS, load
from clipworks.tuning.params import TrainModel
from clipworks.windows.params import Way


@dataclass(frozen=True)
class Ingredients:
    """What the full ensemble has and zero-shot has not, in the order in which it can be added."""

    windows: bool = True
    local: bool = True  # the local branch
    tuned: bool = True  # prompts tuned on captions, else a hand prompt
    blend: bool = True  # captions blended into global features
    similarity: bool = True
    variance: bool = True
    max_or_min: bool = True  # else plain maximum
    cooccurrence: bool = True
    specialists: bool = True  # one model per class, else the default model alone
    standardise: bool = False  # each window over its classes; not in the authors' recipe
    maps: bool = False  # windows read off maps, not encoded one by one; not in it either

    @property
    def way(self) -> Way:
        """How windows are seen."""
        return "maps" if self.maps else "crops"


FULL = Ingredients()
NAMES = tuple(field.name for field in fields(Ingredients))
ZERO_SHOT = Ingredients(**dict.fromkeys(NAMES, False))


@dataclass(frozen=True)
class Row:
    """One combination: what it reaches and what it takes, from encoded captions and image files."""

    test_map: float  # percent
    seconds: float


class Ensembles:
    """The six models of one seed, and a hand prompt, ready to be combined in any way."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.params = load("ensemble", Ensemble)
        self.classes = {"hand": hand.one_template(bench.clip, bench.names)}
        self.held_out: dict[str, np.ndarray] = {}
        self._made: dict[tuple[Any, ...], tuple[Any, float]] = {}
        self._needed: dict[tuple[Any, ...], float] = {}
        tuned: dict[str, Any] = {}
        for name in MODELS:
            begin = time.perf_counter()
            settings = load(f"train.{name}", TrainModel)
            result = bench.tune(settings, seed, tuned.get(settings.start.removeprefix("train/")))
            tuned[name], self.held_out[name] = result.prompts, result.class_ap
            with torch.inference_mode():
                self.classes[name] = result.prompts(bench.clip.model)
            self._made["train", name] = (None, time.perf_counter() - begin)

    @torch.inference_mode()
    def row(self, chosen: Ingredients) -> Row:
        """One combination; what several models share is made, and counted, once."""
        self._needed = {}
        self._encode(chosen)
        models = MODELS if chosen.tuned and chosen.specialists else (self.params.default_model,)
        by_model = {model: self._model(model, chosen) for model in models}
        if len(models) == 1:
            logits = by_model[self.params.default_model]
        else:
            routes = routing.route(self.params, self.bench.names, self.held_out)
            logits = routing.combine(by_model, routes)
        return Row(self.bench.test_map(logits), sum(self._needed.values()))

    def _model(self, model: str, chosen: Ingredients) -> Tensor:
        source = model if chosen.tuned else "hand"
        if chosen.tuned:
            self._train(model)
        way = chosen.way
        pooled, near = self.bench.seen[way].pooled, torch.zeros(1, 1, 1)
        if chosen.blend or chosen.similarity:
            blended, near = self._once(
                ("nearest", way, chosen.windows),
                lambda: self.bench.nearest(way, windows=chosen.windows),
            )
            pooled = blended if chosen.blend else pooled
        logits = self._once(
            ("score", way, source, chosen.windows, chosen.local, chosen.blend),
            lambda: self.bench.score(
                way, pooled, self.classes[source], windows=chosen.windows, local=chosen.local
            ),
        )
        near = near if len(near) == len(logits) else logits.new_zeros(*logits.shape[:2], 1)
        recipe = self._recipe(model, chosen)
        return self._once(
            ("fuse", source, *vars(chosen).values()),
            lambda: recipes.model_logits(logits, near, recipe, self.bench.conditional),
        )

    def _recipe(self, model: str, chosen: Ingredients) -> Recipe:
        shipped = Recipe.of(self.params, model)
        return replace(
            shipped,
            window_weight=shipped.window_weight if chosen.windows else 0.0,
            local_weight=shipped.local_weight if chosen.local else 0.0,
            cooccurrence_weight=shipped.cooccurrence_weight if chosen.cooccurrence else 0.0,
            similarity=chosen.similarity,
            variance=shipped.variance if chosen.variance else "none",
            aggregation=shipped.aggregation if chosen.max_or_min else "max",
            standardise="windows" if chosen.standardise else "none",
        )

    def _train(self, model: str) -> None:
        """Count a model's training, and that of the model it goes on from."""
        self._needed["train", model] = self._made["train", model][1]
        start = load(f"train.{model}", TrainModel).start
        if start != "backbone":
            self._train(start.removeprefix("train/"))

    def _encode(self, chosen: Ingredients) -> None:
        seen = self.bench.seen[chosen.way]
        share = 1.0 if chosen.windows else 1 / seen.pooled.shape[1]
        self._needed["encode", chosen.way] = seen.seconds * share

    def _once(self, key: tuple[Any, ...], work: Callable[[], Any]) -> Any:
        """Make a part once; every row that uses it counts its seconds."""
        if key not in self._made:
            begin = time.perf_counter()
            value = work()
            self._made[key] = (value, time.perf_counter() - begin)
        value, self._needed[key] = self._made[key]
        return value
