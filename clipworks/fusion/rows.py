"""The rows of the leaderboard: what is compared with what.

A row is data: whose logits, which change of the recipe that params.yaml gives them, and how several
models are joined. The table's second column and the logits both come from it. Inductive rows need
one image at a time. The transductive row looks at all test images at once (though never at their
labels), and says so in its name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """One line of the leaderboard.

    `join` says how several models become one: "routes" takes each class from the models that decide
    it, "mean" averages logits, "scaled_mean" averages them after each class was standardised over
    all images (the only transductive way).
    """

    name: str
    what: str  # for people
    models: tuple[str, ...]
    change: dict[str, Any] = field(default_factory=dict)  # of each model's recipe
    join: Literal["only", "routes", "mean", "scaled_mean"] = "only"
    windows: Literal["crops", "maps"] = "crops"  # how they were seen


WHOLE: dict[str, Any] = {"window_weight": 0.0}
HAND = {
    **WHOLE,
    "local_weight": 0.0,
    "captions": False,
    "standardise": "none",
}  # the pooled feature of the image alone
PATCHES = {**HAND, "global_weight": 0.0, "local_weight": 1.0}
BY_IMAGE, BY_WINDOW = {"standardise": "image"}, {"standardise": "windows"}
# Chosen on validation, over three whole seeds (LOG.md); needs no captions to tag an image.
RECOMMENDED: dict[str, Any] = {
    **BY_WINDOW,
    "captions": False,
    "window_weight": 6.0,
    "local_weight": 1.0,
    "cooccurrence_weight": 0.0,
    "similarity": False,
    "variance": "none",
    "aggregation": "max",
}


def rows(models: Sequence[str]) -> tuple[Row, ...]:
    """All rows for these tuned models, in the order of the table."""
    every = tuple(models)
    return (
        Row("zero_shot", "hand prompt, whole image", ("hand",), HAND),
        Row("zero_shot_80", "80 hand templates, whole image", ("hand80",), HAND),
        Row(
            "zero_shot_compound",
            "hand prompts with a class's usual company",
            ("compound",),
            HAND,
        ),
        Row(
            "zero_shot_standardised",
            "hand prompt, each image standardised over classes",
            ("hand",),
            HAND | BY_IMAGE,
        ),
        Row(
            "zero_shot_80_standardised",
            "80 templates, each image standardised",
            ("hand80",),
            HAND | BY_IMAGE,
        ),
        Row(
            "zero_shot_compound_standardised",
            "company, each image standardised",
            ("compound",),
            HAND | BY_IMAGE,
        ),
        Row(
            "zero_shot_80_patches",
            "80 templates on the patches of one pass",
            ("hand80",),
            PATCHES,
        ),
        Row(
            "zero_shot_80_patches_standardised",
            "patches, each image standardised",
            ("hand80",),
            PATCHES | BY_IMAGE,
        ),
        Row(
            "zero_shot_80_windows",
            "80 templates with windows and caption blend, as the tuned models have them",
            ("hand80",),
        ),
        Row(
            "zero_shot_80_windows_standardised",
            "the same, each window standardised over classes",
            ("hand80",),
            BY_WINDOW,
        ),
        *_tuned(every),
        Row(
            "ensemble",
            "the recipe of params.yaml: windows, weights, one model per class (as shipped, the authors')",
            every,
            join="routes",
        ),
        Row(
            "ensemble_standardised",
            "ensemble, each window standardised over classes",
            every,
            BY_WINDOW,
            "routes",
        ),
        Row("average", f"mean of all {len(every)} models, with windows", every, join="mean"),
        Row(
            "average_standardised",
            "the same, each window standardised over classes",
            every,
            BY_WINDOW,
            "mean",
        ),
        Row(
            "average_transductive",
            f"mean of all {len(every)}, each class standardised over all test images (transductive)",
            every,
            join="scaled_mean",
        ),
        Row(
            "maps_zero_shot_80_standardised",
            "80 templates, each window standardised, windows read off maps",
            ("hand80",),
            BY_WINDOW,
            windows="maps",
        ),
        Row(
            "maps_zero_shot_80_recommended",
            "the recommended recipe with 80 templates alone: no training, no captions",
            ("hand80",),
            RECOMMENDED,
            windows="maps",
        ),
        Row("maps_ensemble", "ensemble, windows read off maps", every, {}, "routes", "maps"),
        Row(
            "maps_average_standardised",
            "average_standardised, windows read off maps",
            every,
            BY_WINDOW,
            "mean",
            "maps",
        ),
        Row(
            "recommended_crops",
            "`recommended` with each window encoded alone",
            ("hand80", *every),
            RECOMMENDED,
            "mean",
        ),
        Row(
            "recommended",
            "mean of the 80 templates and all models, standardised windows off maps, no captions: "
            "what `clipworks tag` does",
            ("hand80", *every),
            RECOMMENDED,
            "mean",
            "maps",
        ),
    )


def _tuned(models: tuple[str, ...]) -> Iterator[Row]:
    for model in models:
        yield Row(f"{model}_whole", f"{model} prompts, whole image", (model,), WHOLE)
        yield Row(f"{model}_windows", f"{model} prompts, with windows", (model,))
