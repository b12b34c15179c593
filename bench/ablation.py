"""What each trick is worth on the miniature world, over three seeds: `make ablation`.

Needs a finished `dvc repro`. Writes metrics/ablation.json and .tsv, with mean and spread (standard
deviation over seeds) of held-out-caption mAP and of test mAP. Test labels are read to report, as
in the evaluate stage; nothing here chooses anything.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.worldbench import Bench, prepare
from clipworks import (
    ensemble,
    hand,
    tables,
)
from clipworks.ensemble import Recipe
from clipworks.models import MODELS
from clipworks.params import load
from clipworks.params.ensemble import Ensemble
from clipworks.params.train import TrainModel

# One change at a time from train.base.
VARIANTS: dict[str, dict[str, Any]] = {
    "base as shipped": {},
    "without evidence": {"evidence": False},
    "EMA, student saved": {"ema": True},
    "EMA, teacher saved": {"ema": True, "save": "teacher"},
    "n = 4": {"contexts": 4},
    "n = 64": {"contexts": 64},
    "class-specific contexts": {"class_specific": True},
    **{f"loss: {name}": {"loss": name} for name in ("weighted_ranking", "asymmetric", "distribution_balanced", "soft_cross_entropy", "class_aware_hinge")},
}  # fmt: skip


def training_table(bench: Bench, seeds: range) -> dict[str, dict[str, list[float]]]:
    """Held-out and test mAP of every variant of train.base."""
    shipped = load("train.base", TrainModel)
    recipe = replace(Recipe.of(load("ensemble", Ensemble), "base"), cooccurrence_weight=0.0)
    found: dict[str, dict[str, list[float]]] = {}
    for name, changes in VARIANTS.items():
        settings = TrainModel.model_validate({**shipped.model_dump(), **changes})
        rows = found.setdefault(name, {"held_out_mAP": [], "test_mAP": [], "seconds": []})
        for seed in seeds:
            begin = time.perf_counter()
            result = bench.tune(settings, seed)
            rows["seconds"].append(time.perf_counter() - begin)
            with torch.inference_mode():
                logits, near = bench.stored(result.prompts(bench.clip.model), blend=True)
                rows["test_mAP"].append(
                    bench.test_map(ensemble.model_logits(logits, near, recipe, bench.conditional))
                )
            rows["held_out_mAP"].append(100 * float(np.nanmean(result.class_ap)))
    return found


@dataclass(frozen=True)
class Ingredients:
    """What the full ensemble has and zero-shot has not."""

    tuned: bool = True  # prompts tuned on captions, else a hand prompt
    local: bool = True  # the local branch
    windows: bool = True
    blend: bool = True  # captions blended into global features
    cooccurrence: bool = True
    similarity: bool = True
    variance: bool = True
    max_or_min: bool = True  # else plain maximum
    specialists: bool = True  # one model per class, else the default model alone
    standardise: bool = False  # each window over its classes; not in the authors' recipe


class Ensembles:
    """The six models of one seed, and hand prompts, ready to be combined in any way."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.seconds: dict[str, float] = {}
        self.classes: dict[str, dict[str, Tensor]] = {
            "hand": hand.one_template(bench.clip, bench.names)
        }
        self.held_out: dict[str, np.ndarray] = {}
        done: dict[str, Any] = {}
        for name in MODELS:
            begin = time.perf_counter()
            settings = load(f"train.{name}", TrainModel)
            result = bench.tune(settings, seed, done.get(settings.start.removeprefix("train/")))
            done[name], self.held_out[name] = result.prompts, result.class_ap
            with torch.inference_mode():
                self.classes[name] = result.prompts(bench.clip.model)
            self.seconds[name] = time.perf_counter() - begin
        self._stored: dict[tuple[str, bool], tuple[Tensor, Tensor]] = {}

    @torch.inference_mode()
    def test_map(self, chosen: Ingredients) -> float:
        """Test mAP of one combination."""
        params = load("ensemble", Ensemble)
        models = MODELS if chosen.tuned and chosen.specialists else (params.default_model,)
        found = {}
        for model in models:
            source = (model if chosen.tuned else "hand", chosen.blend)
            if source not in self._stored:
                self._stored[source] = self.bench.stored(self.classes[source[0]], chosen.blend)
            shipped = Recipe.of(params, model)
            recipe = replace(
                shipped,
                window_weight=shipped.window_weight if chosen.windows else 0.0,
                local_weight=shipped.local_weight if chosen.local else 0.0,
                cooccurrence_weight=shipped.cooccurrence_weight if chosen.cooccurrence else 0.0,
                similarity=chosen.similarity,
                variance=shipped.variance if chosen.variance else "none",
                aggregation=shipped.aggregation if chosen.max_or_min else "max",
                standardise="windows" if chosen.standardise else "none",
            )
            found[model] = ensemble.model_logits(
                *self._stored[source], recipe, self.bench.conditional
            )
        if len(found) == 1:
            return self.bench.test_map(found[params.default_model])
        routes = ensemble.route(params, self.bench.names, self.held_out)
        return self.bench.test_map(ensemble.combine(found, routes))


ZERO = Ingredients(*[False] * 10)
# What can be added to zero-shot in turn; each needs those before it.
ADDED = (
    "windows",
    "local",
    "standardise",
    "tuned",
    "blend",
    "similarity",
    "variance",
    "max_or_min",
    "cooccurrence",
    "specialists",
)
REMOVED = (
    "tuned",
    "local",
    "windows",
    "blend",
    "cooccurrence",
    "similarity",
    "variance",
    "max_or_min",
    "specialists",
)


def ensemble_table(bench: Bench, seeds: range) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Test mAP with one ingredient removed, and with ingredients added one by one."""
    found: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in seeds:
        models = Ensembles(bench, seed)
        for name, value in models.seconds.items():
            seconds.setdefault(name, []).append(value)
        found.setdefault("full ensemble", []).append(models.test_map(Ingredients()))
        for name in REMOVED:
            found.setdefault(f"full without {name}", []).append(
                models.test_map(replace(Ingredients(), **{name: False}))
            )
        found.setdefault("full with standardise", []).append(
            models.test_map(replace(Ingredients(), standardise=True))
        )
        chosen = ZERO
        found.setdefault("zero-shot", []).append(models.test_map(chosen))
        for name in ADDED:
            chosen = replace(chosen, **{name: True})
            found.setdefault(f"zero-shot … + {name}", []).append(models.test_map(chosen))
    cost = {f"train {name}": round(statistics.mean(values), 1) for name, values in seconds.items()}
    windows = bench.pooled.shape[1]
    cost["encode whole images"] = round(bench.encode_seconds / windows, 1)
    cost["encode windows"] = round(bench.encode_seconds * (windows - 1) / windows, 1)
    return found, cost


def spread(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 2), "spread": round(deviation, 2)}


def main() -> None:
    """Run both tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=0, help="at most so many test images")
    options = parser.parse_args()
    bench = prepare(options.images)
    seeds = range(options.seeds)
    ingredients, cost = ensemble_table(bench, seeds)
    variants = training_table(bench, seeds)
    content = {
        "seeds": options.seeds,
        "ensemble": {name: spread(values) for name, values in ingredients.items()},
        "seconds": cost,
        "training": {
            name: {key: spread(values) for key, values in row.items()}
            for name, row in variants.items()
        },
    }
    tables.write_json(Path("metrics/ablation.json"), content)
    lines = [(name, *spread(values).values()) for name, values in ingredients.items()]
    tables.write_tsv(Path("metrics/ablation.tsv"), ("what", "test_mAP", "spread"), lines)
    for name, mean, deviation in lines:
        print(f"{name:40s} {mean:6.2f} ± {deviation:.2f}")
    for name, row in content["training"].items():  # type: ignore[attr-defined]
        print(
            f"{name:40s} held-out {row['held_out_mAP']['mean']:6.2f} ± {row['held_out_mAP']['spread']:.2f}   test {row['test_mAP']['mean']:6.2f} ± {row['test_mAP']['spread']:.2f}"
        )


if __name__ == "__main__":
    main()
