"""What can be known to fail in the scenes' pipeline before a CLIP is trained or loaded."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE
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
    yield partial(_sentences, params)
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
        for split in ("test", "validation"):
            folder.read_split(params.world.folder, split)


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
    """Rows that are handed in or drawn; one that needs what a prompts file lacks is found missing later."""
    fixed = Recipe.of(params.ensemble)
    listed = {row.name for row in rows.rows(params.ensemble, dict.fromkeys(choice.RULES, fixed))}
    rows.known(params.submit.row, listed, key="submit.row")
    rows.known(params.evaluate.row, {*listed, rows.VALIDATION}, key="evaluate.row")


def _prompts(params: Params) -> None:
    file = prompts.read_file(Path(params.prompts.file))
    known = [*file.templates, *file.imagenet, prompts.SENTENCES]
    if unknown := [group for group in params.ensemble.groups if group not in known]:
        raise InputError(
            f"ensemble.groups: {params.prompts.file} has no groups {unknown}; there are {known}"
        )


def _sentences(params: Params) -> None:
    file = prompts.read_file(Path(params.prompts.file))
    classes: Sequence[str] = params.base.places
    if params.world.source != "miniature":
        classes = folder.read_split(params.world.folder, "test").classes
    prompts.check_classes(file, classes, name=f"prompts.file: {params.prompts.file}")
