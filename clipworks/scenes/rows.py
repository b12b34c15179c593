"""The rows of the table: each ingredient alone and together, as changes of one recipe."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from clipworks.kit.errors import InputError
from clipworks.scenes import pooling
from clipworks.scenes.cache import AGAIN, Cache
from clipworks.scenes.params import Ensemble
from clipworks.scenes.prompts import PromptSet
from clipworks.scenes.recipes import Recipe, apply

MAIN = "ensemble"
VALIDATION = "choice_validation"  # the one row that looks at labels, so `evaluate` makes it
LADDER = ("name", "own", "imagenet", "sentences", "blur")


class Listed(BaseModel):
    """What data/ensemble/rows.json says."""

    rows: dict[str, dict[Literal["what", "against"], str]]
    steps: int


@dataclass(frozen=True)
class Row:
    """A line of the table; `against` is the row from which it is one step."""

    name: str
    what: str
    against: str
    recipe: Recipe


def bare(recipe: Recipe) -> Recipe:
    """The recipe without its sharpening."""
    return replace(recipe, sharpen=dict.fromkeys(recipe.sharpen, 1.0))


def rows(params: Ensemble, chosen: Mapping[str, Recipe]) -> list[Row]:
    """All rows that need no label; the plain ones first.

    Args:
        chosen: what each label-free rule chose; ensemble.choice may make one the main recipe.
    """
    full = Recipe.of(params) if params.choice == "fixed" else chosen[params.choice]
    blunt = bare(full)

    def made(name: str, what: str, against: str, recipe: Recipe, **changes: Any) -> Row:
        return Row(name, what, against, replace(recipe, **changes))

    plain = full.pooling == "shared_softmax" and not full.drop and full != blunt
    what = "the recipe of params.yaml"
    if params.choice != "fixed":
        what = f"the recipe that {params.choice} chose"
    elif set(full.groups) == set(LADDER) and plain:
        what = "all prompts and sharpening: the contest's recipe"
    found = [
        made("name", "the class name alone", "", blunt, groups=LADDER[:1]),
        made(
            "imagenet_80",
            "CLIP's eighty ImageNet templates",
            "name",
            blunt,
            groups=("imagenet_80",),
        ),
        made("own", "the name and own templates", "name", blunt, groups=LADDER[:2]),
        made("templates", "and ImageNet templates", "own", blunt, groups=LADDER[:3]),
        made("sentences", "and class sentences", "templates", blunt, groups=LADDER[:4]),
        made("blur", "and blur templates: all prompts", "sentences", blunt, groups=LADDER),
        Row(MAIN, what, "blur", full),
        made(
            "name_sentences",
            "the name and class sentences alone",
            "name",
            blunt,
            groups=("name", "sentences"),
        ),
        made(
            "name_blur", "the name and blur templates alone", "name", blunt, groups=("name", "blur")
        ),
        made("name_sharpened", "the name alone, sharpened", "name", full, groups=LADDER[:1]),
    ]
    for model in full.weights:
        found.append(
            made(f"only_{model}", f"{model} alone", MAIN, full, weights={model: 1.0}),
        )
    pooled = {"shared_softmax", "embedding_mean", "template_softmax", "log_sum_exp"}
    for other in sorted(pooled - {full.pooling}):
        what = f"pooling {other} instead of {full.pooling}"
        found.append(made(other, what, MAIN, full, pooling=other, drop=0.0))
    if full.pooling == "shared_softmax":
        what = f"probabilities of at most {params.drop_tried:g} dropped"
        found.append(made("drop", what, MAIN, full, drop=params.drop_tried))
    for rule, recipe in chosen.items():
        what = f"sharpening and weights by {rule}, without labels"
        found.append(Row(f"choice_{rule}", what, MAIN, recipe))
    return found


def score(
    listed: Sequence[Row], cache: Cache, prompts: PromptSet
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Class probabilities of every row, and why a row could not be made.

    A prompts file without a group, a model without a cached factor or classes with different
    numbers of prompts leave out the rows that need them; the main row must be.

    Raises:
        InputError: the main row cannot be made.
    """
    found: dict[str, np.ndarray] = {}
    skipped: dict[str, str] = {}
    for row in listed:
        try:
            # safetensors writes memory as it lies: an array in another order would come back mixed up.
            found[row.name] = np.ascontiguousarray(apply(row.recipe, cache, prompts), np.float32)
        except InputError as error:
            if row.name == MAIN:
                raise
            skipped[row.name] = str(error)
    return found, skipped


def check_prompts(recipe: Recipe, prompts: PromptSet) -> None:
    """Raises InputError where a recipe's groups are not there, leave a class bare, or do not pair up."""
    chosen = prompts.rows(recipe.groups)
    if recipe.pooling == "template_softmax":
        pooling.check_pairs(prompts.owner[chosen])


def known(name: str, found: Collection[str], *, key: str) -> None:
    """Raises InputError for a row that there is not; `key` is the one of params.yaml."""
    if name not in found:
        close = difflib.get_close_matches(name, list(found), 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{key}: no row {name!r}; there are {sorted(found)}{hint}")


def check_labels(found: Mapping[str, np.ndarray], images: Sequence[str], row: str = MAIN) -> None:
    """Raises InputError where a drop left nothing of a picture in the row that counts, or rows are of
    other pictures than are listed."""
    if len(found[row]) != len(images):
        raise InputError(
            f"{len(images)} pictures are listed, and probabilities are of {len(found[row])}; {AGAIN}"
        )
    empty = np.flatnonzero(~found[row].any(axis=1))
    if len(empty):
        names = [images[i] for i in empty[:5]]
        raise InputError(
            f"ensemble.drop drops all probabilities of {len(empty)} of {len(images)} pictures "
            f"({', '.join(names)} …), which leaves them without a label; lower it, or 0 for none"
        )
