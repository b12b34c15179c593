"""The rows of the leaderboard: what is compared with what.

Inductive rows need one image at a time. The transductive row looks at all test images at once
(though never at their labels), and says so in its name.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from clipworks import fusion, manifest
from clipworks.ensemble import Recipe, combine, model_logits
from clipworks.params.ensemble import Ensemble
from clipworks.stored import read
from clipworks.tables import Writer, logits_schema

HAND = ("hand", "hand80", "compound")


def rows(
    folder: Path,
    params: Ensemble,
    models: Sequence[str],
    routes: dict[str, dict[str, float]],
    conditional: Tensor,
) -> tuple[dict[str, Tensor], list[str]]:
    """All rows from stored windows, streamed.

    Returns:
        logits of shape (image, class) by row name, and the image names.
    """
    order = {name: i for i, name in enumerate(manifest.read(folder)["models"])}
    found: dict[str, list[Tensor]] = {}
    images: list[str] = []
    for stored in read(folder):
        images += stored.names
        for name, value in _some(
            stored.logits, stored.similarities, order, params, models, routes, conditional
        ).items():
            found.setdefault(name, []).append(value)
    done = {name: torch.cat(parts) for name, parts in found.items()}
    # A class's own scale does not change its AP, so this matters only where models are averaged.
    scaled = [fusion.standardise_classes(done[f"{model}_windows"]) for model in models]
    done["average_transductive"] = torch.stack(scaled).mean(dim=0)
    return done, images


def _some(
    logits: Tensor,
    similarities: Tensor,
    order: dict[str, int],
    params: Ensemble,
    models: Sequence[str],
    routes: dict[str, dict[str, float]],
    conditional: Tensor,
) -> dict[str, Tensor]:
    """The rows of some images."""

    def of(model: str, recipe: Recipe) -> Tensor:
        return model_logits(logits[:, :, :, order[model]], similarities, recipe, conditional)

    plain = Recipe.of(params, "none").only(local_weight=0.0, standardise="none")
    whole = plain.only(window_weight=0.0)
    result = {}
    for hand, label in zip(HAND, ("zero_shot", "zero_shot_80", "zero_shot_compound"), strict=True):
        result[label] = of(hand, whole)
        result[f"{label}_standardised"] = fusion.standardise(result[label])
    result["zero_shot_80_patches"] = logits[:, 0, 1, order["hand80"]]
    result["zero_shot_80_patches_standardised"] = fusion.standardise(result["zero_shot_80_patches"])
    result["zero_shot_80_windows"] = of("hand80", Recipe.of(params, "none"))
    result["zero_shot_80_windows_standardised"] = of(
        "hand80", Recipe.of(params, "none").only(standardise="windows")
    )
    by_model = {}
    for model in models:
        recipe = Recipe.of(params, model)
        result[f"{model}_whole"] = of(model, recipe.only(window_weight=0.0))
        result[f"{model}_windows"] = by_model[model] = of(model, recipe)
    result["average"] = torch.stack(list(by_model.values())).mean(dim=0)
    result["ensemble"] = combine(by_model, routes)
    result["ensemble_standardised"] = combine(
        {m: of(m, Recipe.of(params, m).only(standardise="windows")) for m in models}, routes
    )
    return result


def write_predictions(
    path: Path, images: Sequence[str], names: Sequence[str], logits: Tensor
) -> None:
    """One row per image: its name and a logit per class, as a column each."""
    with Writer(path, logits_schema(names)) as out:
        for image, values in zip(images, logits.tolist(), strict=True):
            out.add(image=image, **dict(zip(names, values, strict=True)))
