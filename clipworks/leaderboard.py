"""The rows of the leaderboard: what is compared with what.

Inductive rows need one image at a time. The transductive row looks at all test images at once
(though never at their labels), and says so in its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from clipworks import fusion, manifest
from clipworks.ensemble import Recipe, combine, deciding_window, model_logits
from clipworks.jaxshapes import Int
from clipworks.params.ensemble import Ensemble
from clipworks.stored import Stored, read

HAND = ("hand", "hand80", "compound")  # of the image alone
HAND_WINDOWS = "hand80_blended"  # windows with captions blended in, as the tuned models have them


@dataclass(frozen=True)
class Board:
    """Logits of shape (image, class) by row, the images' names, and what decided the ensemble.

    `windows`, of shape (image, class), is the window that spoke for each class most, at the model
    that decides it most; 0 stands for the whole image.
    """

    rows: dict[str, Tensor]
    images: list[str]
    windows: Int[Tensor, "image class"]


def rows(
    folder: Path,
    params: Ensemble,
    models: Sequence[str],
    routes: dict[str, dict[str, float]],
    conditional: Tensor,
) -> Board:
    """All rows from stored windows, streamed."""
    order = {name: i for i, name in enumerate(manifest.read(folder)["models"])}
    found: dict[str, list[Tensor]] = {}
    images: list[str] = []
    windows: list[Tensor] = []
    for stored in read(folder):
        images += stored.names
        for name, value in _some(stored, order, params, models, routes, conditional).items():
            found.setdefault(name, []).append(value)
        windows.append(_deciding(stored, order, params, routes, conditional))
    done = {name: torch.cat(parts) for name, parts in found.items()}
    # A class's own scale does not change its AP, so this matters only where models are averaged.
    scaled = [fusion.standardise_classes(done[f"{model}_windows"]) for model in models]
    done["average_transductive"] = torch.stack(scaled).mean(dim=0)
    return Board(done, images, torch.cat(windows))


def _deciding(
    stored: Stored,
    order: dict[str, int],
    params: Ensemble,
    routes: dict[str, dict[str, float]],
    conditional: Tensor,
) -> Tensor:
    """The window that speaks most for each class at the model with the largest share in it."""
    main = [max(shares, key=lambda model: shares[model]) for shares in routes.values()]
    by_model = {
        model: deciding_window(
            stored.logits[:, :, :, order[model]],
            stored.similarities,
            Recipe.of(params, model),
            conditional,
        )
        for model in sorted(set(main))
    }
    return torch.stack([by_model[model][:, i] for i, model in enumerate(main)], dim=1)


def submission(images: Sequence[str], scored: Sequence[str], logits: Tensor) -> list[list[float]]:
    """One row per image in the given order; an image that could not be scored gets each class's
    lowest logit, so that no row moves and none of its classes ranks before a scored image's."""
    place = {name: row for row, name in enumerate(scored)}
    lowest = logits.amin(dim=0)
    rows = [logits[place[name]] if name in place else lowest for name in images]
    found: list[list[float]] = torch.round(torch.stack(rows), decimals=5).tolist()
    return found


def _some(
    stored: Stored,
    order: dict[str, int],
    params: Ensemble,
    models: Sequence[str],
    routes: dict[str, dict[str, float]],
    conditional: Tensor,
) -> dict[str, Tensor]:
    """The rows of some images."""

    def of(model: str, recipe: Recipe) -> Tensor:
        logits = stored.logits[:, :, :, order[model]]
        return model_logits(logits, stored.similarities, recipe, conditional)

    plain = replace(Recipe.of(params, "none"), local_weight=0.0, standardise="none")
    whole = replace(plain, window_weight=0.0)
    result = {}
    for hand, label in zip(HAND, ("zero_shot", "zero_shot_80", "zero_shot_compound"), strict=True):
        result[label] = of(hand, whole)
        result[f"{label}_standardised"] = fusion.standardise(result[label])
    result["zero_shot_80_patches"] = stored.logits[:, 0, 1, order["hand80"]]
    result["zero_shot_80_patches_standardised"] = fusion.standardise(result["zero_shot_80_patches"])
    result["zero_shot_80_windows"] = of(HAND_WINDOWS, Recipe.of(params, "none"))
    result["zero_shot_80_windows_standardised"] = of(
        HAND_WINDOWS, replace(Recipe.of(params, "none"), standardise="windows")
    )
    by_model = {}
    for model in models:
        recipe = Recipe.of(params, model)
        result[f"{model}_whole"] = of(model, replace(recipe, window_weight=0.0))
        result[f"{model}_windows"] = by_model[model] = of(model, recipe)
    result["average"] = torch.stack(list(by_model.values())).mean(dim=0)
    result["ensemble"] = combine(by_model, routes)
    standardised = {
        model: of(model, replace(Recipe.of(params, model), standardise="windows"))
        for model in models
    }
    result["ensemble_standardised"] = combine(standardised, routes)
    result["average_standardised"] = torch.stack(list(standardised.values())).mean(dim=0)
    return result


def write_predictions(
    path: Path, images: Sequence[str], names: Sequence[str], logits: Tensor
) -> None:
    """One row per image: its name and a logit per class, as a column each."""
    columns = dict(zip(names, logits.T.numpy(), strict=True))
    pq.write_table(pa.table({"image": pa.array(images), **columns}), path, compression="zstd")
