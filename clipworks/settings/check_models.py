"""What can be known to fail in the CLIP, the tuned models and the ensemble: they speak of each other."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE
from clipworks.kit.params import GENERATED, MODELS
from clipworks.settings.whole import NOT_WRITTEN, Params, written
from clipworks.tuning.params import TrainModel


def checks(params: Params, names: list[str]) -> Iterator[Callable[[], None]]:
    """Each check, a function that raises InputError."""
    yield partial(_backbone, params, names)
    yield partial(_groups, params, names)
    yield partial(_starts, params)
    yield partial(_init_words, params)
    yield partial(_ensemble, params, names)


def _backbone(params: Params, names: list[str]) -> None:
    section = params.backbone
    contexts = [getattr(params.train, model).contexts for model in MODELS]
    fit = section.context_length if section.source == "miniature" else 77
    # A name has a token for each letter at most: only where that is too many are tokens counted.
    longest = max(map(len, names))
    if max(contexts) + longest + 3 > fit:
        longest = max(_tokens(names))
    room = fit - 3 - longest  # a begin, a full stop and an end
    for model in MODELS:
        contexts = getattr(params.train, model).contexts
        if contexts > room:
            raise InputError(
                f"train.{model}.contexts: {contexts}, and the text tower has room for {max(room, 0)} beside "
                "the longest class name, a begin, a full stop and an end"
            )
    if section.source == "miniature":
        return
    from clipworks.clip import pretrained  # imports torch: only where it is needed

    file = None if Path(section.checkpoint) == NONE else Path(section.checkpoint)
    pretrained.check(section.model, section.pretrained, file, section.activation)
    pretrained.check_dense(section.model)
    resized = pretrained.resize_mode(section.model, section.pretrained, file)
    if "maps" in params.infer.windows and resized != "shortest":
        raise InputError(
            f"infer.windows: {section.model} resizes pictures by {resized!r}; maps have the centre squares of "
            "'shortest' only: use crops"
        )
    if file is None:
        pretrained.check_reachable(section.model, section.pretrained)


def _groups(params: Params, names: list[str]) -> None:
    from clipworks.tuning import hard

    groups = list(hard.GROUPS)
    if params.hard_groups.method == "fixed":
        groups = list(hard.read(Path(params.hard_groups.fixed), names))
    elif len(names) < len(groups) * params.hard_groups.size:
        raise InputError(
            f"hard_groups.size: {params.hard_groups.size} in {len(groups)} groups are more than "
            f"the {len(names)} classes; "
            + (
                f"at most {len(names) // len(groups)}"
                if len(names) >= len(groups)
                else f"the specialists need at least {len(groups)} classes"
            )
        )
    nothing = {"companions"} if Path(params.encode_captions.companions) == NONE else set()
    nothing |= set(GENERATED).difference(written(params))
    for model in MODELS:
        one: TrainModel = getattr(params.train, model)
        if unknown := sorted(set(one.hard_list) - set(groups)):
            raise InputError(f"train.{model}.hard_list: no group {unknown}; there are {groups}")
        if set(one.sources) <= nothing:
            raise InputError(
                f"train.{model}.sources: there will be no captions of {one.sources} ({NOT_WRITTEN}, or "
                "encode_captions.companions is data/none)"
            )
        if "group" in one.sources and not one.hard_list:
            raise InputError(
                f"train.{model}.sources: 'group' is the templates of hard_list, which is empty"
            )


def _starts(params: Params) -> None:
    """`start` names a model of the same shape, and no circle of them."""
    for model in MODELS:
        seen = [model]
        one: TrainModel = getattr(params.train, model)
        while one.start != "backbone":
            other = one.start.removeprefix("train/")
            if other not in MODELS:
                raise InputError(
                    f"train.{seen[-1]}.start: no model {other!r}; there are {list(MODELS)}"
                )
            if other in seen:
                raise InputError(
                    f"train.{model}.start: goes in a circle: {' -> '.join([*seen, other])}"
                )
            before: TrainModel = getattr(params.train, other)
            for key in ("contexts", "class_specific", "name_position"):
                here, there = getattr(one, key), getattr(before, key)
                if here != there:
                    raise InputError(
                        f"train.{seen[-1]}.{key}: {here}, but it goes on from train.{other}, where it "
                        f"is {there}; make them equal"
                    )
            seen.append(other)
            one = before


def _init_words(params: Params) -> None:
    told = {m: getattr(params.train, m) for m in MODELS if getattr(params.train, m).init_words}
    for model, one in told.items():
        (count,) = _tokens([one.init_words])
        if count != one.contexts:
            raise InputError(
                f"train.{model}.init_words: {one.init_words!r} has {count} tokens, and contexts is "
                f"{one.contexts}; make them equal"
            )


def _ensemble(params: Params, names: list[str]) -> None:
    section = params.ensemble
    if section.default_model not in MODELS:
        raise InputError(
            f"ensemble.default_model: no model {section.default_model!r}; there are {list(MODELS)}"
        )
    if section.routing == "weights" and sum(section.weights.values()) <= 0:
        raise InputError(
            f"ensemble.weights: {section.weights}: give at least one of {list(MODELS)} more than 0"
        )
    if section.routing != "lists":
        if not Path(section.lists).is_file():  # DVC looks for it all the same
            raise InputError(
                f"ensemble.lists: {section.lists} is no file; data/none stands for none"
            )
    else:
        from clipworks.fusion import routing  # imports torch

        try:
            routing.listed(Path(section.lists), MODELS, names)
        except InputError as error:
            raise InputError(
                f"{error}; give lists for these classes, or use ensemble.routing=held_out"
            ) from None


def _tokens(texts: list[str]) -> list[int]:
    """How many tokens texts have, without begin and end.

    Every tower that prompts can be tuned on has CLIP's own tokenizer (pretrained.check).
    """
    from clipworks.clip import text  # imports torch and open_clip
    from clipworks.clip.backbone import tokenizer

    return [count - 2 for count in text.lengths(tokenizer(1_000)(texts)).tolist()]
