"""Which models decide each class: by held-out captions, by lists, by weights, or all alike."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from clipworks.fusion.params import Ensemble
from clipworks.kit import tables
from clipworks.kit.classes import read_lists
from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float


def route(
    params: Ensemble, class_names: Sequence[str], held_out_ap: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Which models decide each class, with weights that sum to 1.

    Args:
        held_out_ap: AP of each class on held-out captions, by model; nan where there is none.

    Raises:
        InputError: a list names an unknown class or model, or one class at two models.
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
            raise InputError(
                f"ensemble.weights: {params.weights}: give at least one of {models} more than 0"
            )
        shares = {model: weight / total for model, weight in params.weights.items()}
        return {name: shares for name in class_names}
    routes = {name: {params.default_model: 1.0} for name in class_names}
    if params.routing == "lists":
        found = listed(Path(params.lists), models, class_names)
        return routes | {name: {model: 1.0} for name, model in found.items()}
    for index, name in enumerate(class_names):
        # A class that no held-out caption names tells nothing of a model: it counts as AP 0.
        ap = {m: float(np.nan_to_num(values[index])) for m, values in held_out_ap.items()}
        best = max(ap, key=lambda model: ap[model])
        if ap[best] > ap[params.default_model] + params.routing_margin:
            routes[name] = {best: 1.0}
    return routes


class HeldOut(BaseModel):
    """What training wrote of a model's held-out captions."""

    class_ap: dict[str, float | None]


def read_ap(path: Path, class_names: Sequence[str], model: str) -> Float[np.ndarray, " class"]:
    """A model's AP of each class on held-out captions, as training wrote it; nan where there is none.

    Raises:
        InputError: the file is missing, or says nothing of a class.
    """
    ap = tables.read_json(path, HeldOut)["class_ap"]
    if missing := [name for name in class_names if name not in ap]:
        raise InputError(f"{path} says nothing of {missing[:5]}; run `dvc repro train@{model}`")
    return np.array([np.nan if ap[name] is None else ap[name] for name in class_names])


def listed(path: Path, models: Sequence[str], class_names: Sequence[str]) -> dict[str, str]:
    """The model of each class that a file of lists routes.

    Raises:
        InputError: the file is missing or of another form, names an unknown model or class, or one
            class twice.
    """
    taken: dict[str, str] = {}
    routes = read_lists(path, "routes", class_names, key="ensemble.lists")
    for model, names in routes.items():
        if model not in models:
            raise InputError(
                f"ensemble.lists: {path}: no model {model!r}; there are {list(models)}"
            )
        for name in names:
            if taken.setdefault(name, model) != model:
                raise InputError(
                    f"ensemble.lists: {path}: {name!r} stands at {taken[name]} and {model}"
                )
    return taken


def _check_model(model: str, models: list[str]) -> None:
    if model not in models:
        raise InputError(f"ensemble: no model {model!r}; there are {models}")


def combine(
    by_model: dict[str, Tensor], routes: dict[str, dict[str, float]]
) -> Float[Tensor, "image class"]:
    """Each class's logit from the models that decide it."""
    columns = []
    for index, shares in enumerate(routes.values()):
        columns.append(sum(weight * by_model[model][:, index] for model, weight in shares.items()))
    return torch.stack(columns, dim=1)  # type: ignore[arg-type]
