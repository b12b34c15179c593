"""What each trick is worth on the miniature world, over three seeds: `make ablation`.

Needs a finished `dvc repro`. Writes metrics/ablation.json and .tsv: mean and spread (standard
deviation over seeds) of test mAP and of held-out-caption mAP, and the seconds that each ingredient
costs on this machine. Test labels are read to report, as in the evaluate stage; nothing here
chooses anything.
"""

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.ingredients import FULL, NAMES, ZERO_SHOT, Ensembles, Ingredients, Row
from bench.worldbench import Bench, prepare
from clipworks.fusion import recipes
from clipworks.fusion.params import Ensemble
from clipworks.fusion.recipes import Recipe
from clipworks.kit import tables
from clipworks.kit.params import load
from clipworks.tuning.params import TrainModel

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
    with torch.inference_mode():
        blended, near = bench.nearest("crops", windows=True)
    for name, changes in VARIANTS.items():
        settings = TrainModel.model_validate({**shipped.model_dump(), **changes})
        rows = found.setdefault(name, {"held_out_mAP": [], "test_mAP": []})
        for seed in seeds:
            result = bench.tune(settings, seed)
            with torch.inference_mode():
                classes = result.prompts(bench.clip.model)
                logits = bench.score("crops", blended, classes, windows=True, local=True)
                fused = recipes.model_logits(logits, near, recipe, bench.conditional)
            rows["test_mAP"].append(bench.test_map(fused))
            rows["held_out_mAP"].append(100 * float(np.nanmean(result.class_ap)))
    return found


def rows(models: Ensembles) -> Iterator[tuple[str, Row]]:
    """The full ensemble with one ingredient less or more, and zero-shot with more and more."""
    yield "full ensemble", models.row(FULL)
    for name in NAMES:
        if getattr(FULL, name):
            yield f"full without {name}", models.row(replace(FULL, **{name: False}))
        else:
            yield f"full with {name}", models.row(replace(FULL, **{name: True}))
    chosen: Ingredients = ZERO_SHOT
    yield "zero-shot", models.row(chosen)
    for name in NAMES:
        chosen = replace(chosen, **{name: True})
        yield f"zero-shot … + {name}", models.row(chosen)


def costs(table: dict[str, list[Row]]) -> dict[str, float]:
    """Median seconds that adding each ingredient in turn costs."""
    steps = [table["zero-shot"], *(table[f"zero-shot … + {name}"] for name in NAMES)]
    return {
        name: round(
            statistics.median(b.seconds - a.seconds for a, b in zip(before, after, strict=True)), 1
        )
        for name, before, after in zip(NAMES, steps[:-1], steps[1:], strict=True)
    }


def spread(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 2), "spread": round(deviation, 2)}


def main() -> None:
    """Run both tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed of the prompts")
    parser.add_argument("--images", type=int, default=0, help="at most so many test images")
    parser.add_argument("--ingredients-only", action="store_true", help="no variants of train.base")
    parser.add_argument("--out", type=Path, default=Path("metrics/ablation"))
    options = parser.parse_args()
    bench = prepare(options.images)
    seeds = range(options.first, options.first + options.seeds)
    table: dict[str, list[Row]] = {}
    for seed in seeds:
        for name, row in rows(Ensembles(bench, seed)):
            table.setdefault(name, []).append(row)
    of_rows = {
        name: {
            **spread([row.test_map for row in found]),
            "seconds": round(statistics.median(row.seconds for row in found), 1),
        }
        for name, found in table.items()
    }
    trained = {} if options.ingredients_only else training_table(bench, seeds)
    variants = {
        name: {key: spread(values) for key, values in row.items()} for name, row in trained.items()
    }
    cost = costs(table)
    content = {
        "seeds": options.seeds,
        "ensemble": of_rows,
        "seconds": cost,
        "training": variants,
    }
    tables.write_json(options.out.with_suffix(".json"), content)
    lines = [(name, *row.values()) for name, row in of_rows.items()]
    tables.write_tsv(
        options.out.with_suffix(".tsv"), ("what", "test_mAP", "spread", "seconds"), lines
    )
    for what, mean, deviation, seconds in lines:
        print(f"{what:32s} {mean:6.2f} ± {deviation:.2f}   {seconds:7.1f} s")
    print("seconds added:", ", ".join(f"{name} {value}" for name, value in cost.items()))
    for name, found in variants.items():
        held_out, test = found["held_out_mAP"], found["test_mAP"]
        print(
            f"{name:32s} held-out {held_out['mean']:6.2f} ± {held_out['spread']:.2f}   "
            f"test {test['mean']:6.2f} ± {test['spread']:.2f}"
        )


if __name__ == "__main__":
    main()
