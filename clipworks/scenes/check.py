"""What can be known to fail in the scenes' pipeline before a CLIP is trained or loaded."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE
from clipworks.kit.images import unreadable
from clipworks.kit.params import PARAMS, collect, load_whole
from clipworks.kit.runtime import pick_device
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
    yield partial(_device, params)
    yield partial(_world, params)
    for name, model in params.model.items():
        if model.source == "pretrained":
            yield partial(_pretrained, name, model)
    yield partial(_names, params)
    yield partial(_prompts, params)
    yield partial(_rows, params)


def _device(params: Params) -> None:
    if params.base.device in ("cuda", "mps"):
        pick_device(params.base.device)  # imports torch: only where it is needed


def _world(params: Params) -> None:
    if params.world.source == "miniature":
        for split, path in params.world.folder:
            if Path(path) != NONE:
                raise InputError(
                    f"world.folder.{split}: {path} would not be read, since world.source is miniature; set "
                    f"world.source to folder, or this to {NONE}"
                )
        painting.check(params.base.places)
    else:
        listed = [folder.read_split(params.world.folder, split) for split in ("test", "validation")]
        if bad := unreadable(one.folder / name for one in listed for name in one.images):
            raise InputError(
                f"world.folder: {len(bad)} pictures cannot be read: {', '.join(bad[:5])}; replace them, or take "
                "them out of the folder"
            )


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


def _rows(params: Params) -> None:
    """The main row, those that are handed in and drawn: known, and with prompts for every class."""
    fixed = Recipe.of(params.ensemble)
    made = rows.rows(params.ensemble, dict.fromkeys(choice.RULES, fixed))
    recipes = {row.name: row.recipe for row in made}
    rows.known(params.submit.row, set(recipes), key="submit.row")
    rows.known(params.evaluate.row, {*recipes, rows.VALIDATION}, key="evaluate.row")
    built = _built(params)
    for key, row in (
        ("ensemble", rows.MAIN),
        ("submit.row", params.submit.row),
        ("evaluate.row", params.evaluate.row),
    ):
        try:
            rows.check_prompts(recipes.get(row, fixed), built)
        except InputError as error:
            raise InputError(f"{key}: the row {row!r} cannot be made: {error}") from None
    if params.evaluate.row == rows.VALIDATION and not _labelled(params):
        raise InputError(
            f"evaluate.row: {rows.VALIDATION!r} is chosen on labels of validation pictures, and there are none; "
            "choose another row"
        )


def _labelled(params: Params) -> bool:
    """Whether there will be validation pictures whose labels are known."""
    if params.world.source == "miniature":
        return params.world.miniature.validation > 0
    return bool(folder.read_split(params.world.folder, "validation").labels)


def _prompts(params: Params) -> None:
    file = prompts.read_file(Path(params.prompts.file))
    known = [*file.templates, *file.imagenet, prompts.SENTENCES]
    if unknown := [group for group in params.ensemble.groups if group not in known]:
        raise InputError(
            f"ensemble.groups: {params.prompts.file} has no groups {unknown}; there are {known}"
        )


def _built(params: Params) -> prompts.PromptSet:
    """All prompts, but for the words of CLIP's templates: there are as many."""
    classes: Sequence[str] = params.base.places
    if params.world.source != "miniature":
        classes = folder.read_split(params.world.folder, "test").classes
    file, name = Path(params.prompts.file), f"prompts.file: {params.prompts.file}"
    templates = ["{}"] * prompts.IMAGENET_TEMPLATES
    return prompts.build(prompts.read_file(file), classes, templates, name=name)
