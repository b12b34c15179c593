"""What can be known to fail in the scenes' pipeline before a CLIP is trained or loaded."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE, check_plain
from clipworks.kit.images import check_readable
from clipworks.kit.params import PARAMS, collect, load_whole
from clipworks.kit.runtime import memory, pick_device
from clipworks.scenes import choice, folder, painting, prompts, rows
from clipworks.scenes.params import (
    Base,
    Ensemble,
    Evaluate,
    Model,
    Probabilities,
    Prompts,
    Submit,
    World,
)
from clipworks.scenes.recipes import Recipe

Split = Callable[[str], folder.Listed]  # test or validation


class Params(BaseModel):
    """solutions/scenes/params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    base: Base
    world: World
    model: dict[str, Model]
    prompts: Prompts
    probabilities: dict[str, Probabilities]
    ensemble: Ensemble
    submit: Submit
    evaluate: Evaluate


def load(path: Path = PARAMS) -> Params:
    """Read all of params.yaml; see clipworks.kit.params.load_whole."""
    return load_whole(Params, path)


def check(params: Params) -> None:
    """Check all of params.yaml, the files it names and this machine.

    Raises:
        InputError: everything that is wrong, a line each.
    """
    collect(_checks(params))


def _checks(params: Params) -> Iterator[Callable[[], None]]:
    split = cache(partial(folder.read_split, params.world.folder))  # folders are read once
    yield partial(_device, params)
    yield partial(_world, params, split)
    for name, model in params.model.items():
        if model.source == "pretrained":
            yield partial(_pretrained, name, model)
    yield partial(_names, params)
    yield partial(_sentences, params, split)
    yield partial(_rows, params, split)


def _painted(params: Params) -> bool:
    return params.world.source == "miniature"


def _device(params: Params) -> None:
    if params.base.device in ("cuda", "mps"):
        pick_device(params.base.device)  # imports torch: only where it is needed


def _world(params: Params, split: Split) -> None:
    if _painted(params):
        for key, path in params.world.folder:
            if Path(path) != NONE:
                raise InputError(
                    f"world.folder.{key}: {path} would not be read, since world.source is miniature; set "
                    f"world.source to folder, or this to {NONE}"
                )
        painting.check(params.base.places)
    else:
        for key, path in params.world.folder:
            check_plain(Path(path), f"world.folder.{key}")
        listed = [split("test"), split("validation")]
        paths = (one.folder / name for one in listed for name in one.images)
        check_readable(paths, key="world.folder")


def _pretrained(name: str, model: Model) -> None:
    from clipworks.clip import pretrained  # imports torch

    key = f"model.{name}"
    file = None if Path(model.checkpoint) == NONE else Path(model.checkpoint)
    pretrained.check(model.model, model.pretrained, file, model.activation, key)
    if file is None:
        pretrained.check_reachable(model.model, model.pretrained, key)


def _names(params: Params) -> None:
    """All sections speak of the same models, and of sharpening factors that are cached."""
    models = set(params.model)
    for section, named in (
        ("probabilities", set(params.probabilities)),
        ("ensemble.weights", set(params.ensemble.weights)),
    ):
        if named != models:
            raise InputError(
                f"{section} names {sorted(named)}, model has {sorted(models)}; each CLIP needs an "
                "entry in all of model, probabilities, ensemble.sharpen and ensemble.weights"
            )
    for name, factor in params.ensemble.sharpen.items():
        cached = params.probabilities[name].sharpen
        if factor not in cached:
            raise InputError(
                f"ensemble.sharpen.{name}: {factor} is not among probabilities.{name}.sharpen "
                f"{cached}; add it there"
            )


def _classes(params: Params, split: Split) -> Sequence[str]:
    return params.base.places if _painted(params) else split("test").classes


def _sentences(params: Params, split: Split) -> None:
    """Sentences are for classes."""
    file = prompts.read_file(Path(params.prompts.file))
    prompts.check_classes(file, _classes(params, split), name=_called(params))


def _called(params: Params) -> str:
    return f"prompts.file: {params.prompts.file}"


def _rows(params: Params, split: Split) -> None:
    """The main row, those that are handed in and drawn: known, and with prompts for every class."""
    file = prompts.read_file(Path(params.prompts.file))
    groups = [*file.templates, *file.imagenet, prompts.SENTENCES]
    if unknown := [group for group in params.ensemble.groups if group not in groups]:
        raise InputError(
            f"ensemble.groups: {params.prompts.file} has no groups {unknown}; there are {groups}"
        )
    choice.check_many(len(params.ensemble.weights), params.ensemble.steps)
    fixed = Recipe.of(params.ensemble)
    made = rows.rows(params.ensemble, dict.fromkeys(choice.RULES, fixed))
    recipes = {row.name: row.recipe for row in made}
    rows.known(params.submit.row, set(recipes), key="submit.row")
    rows.known(params.evaluate.row, {*recipes, rows.VALIDATION}, key="evaluate.row")
    templates = ["{}"] * prompts.IMAGENET_TEMPLATES  # CLIP's own words do not matter here
    built = prompts.build(file, _classes(params, split), templates, name=_called(params))
    _memory(params, split, len(built.texts))
    for key, row in (
        ("ensemble", rows.MAIN),
        ("submit.row", params.submit.row),
        ("evaluate.row", params.evaluate.row),
    ):
        try:
            rows.check_prompts(recipes.get(row, fixed), built)
        except InputError as error:
            raise InputError(f"{key}: the row {row!r} cannot be made: {error}") from None
        if key != "ensemble":  # whose factors have keys of their own
            _factors(params, recipes.get(row, fixed), f"{key}: the row {row!r}")
    painted = params.world.miniature.validation > 0
    labelled = painted if _painted(params) else split("validation").labels
    if params.evaluate.row == rows.VALIDATION and not labelled:
        raise InputError(
            f"evaluate.row: {rows.VALIDATION!r} is chosen on labels of validation pictures, and there are none; "
            "choose another row"
        )


def _factors(params: Params, recipe: Recipe, what: str) -> None:
    """Raises InputError where a recipe sharpens as no cached picture is."""
    for name, factor in recipe.sharpen.items():
        cached = params.probabilities[name].sharpen if name in params.probabilities else [factor]
        if recipe.weights.get(name) and factor not in cached:
            raise InputError(
                f"{what} looks at pictures sharpened by {factor:g}; add it to probabilities.{name}.sharpen "
                f"({cached}), or choose another row"
            )


def _memory(params: Params, split: Split, prompts: int) -> None:
    """Raises InputError where cosines of all pictures with all prompts are more than this machine holds."""
    pictures = params.world.miniature.test if _painted(params) else len(split("test").images)
    factors = sum(len(one.sharpen) for one in params.probabilities.values())
    need, there = 4 * pictures * prompts * factors, memory()
    if there and need > there:
        raise InputError(
            f"probabilities: {pictures:,} pictures x {prompts:,} prompts x {factors} sharpenings of all models take "
            f"{need / 2**30:,.0f} GiB, and this machine has {there / 2**30:,.0f}; name fewer templates "
            "(prompts.file) or factors (probabilities.NAME.sharpen)"
        )
