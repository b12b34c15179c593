"""What can be known to fail before anything expensive has begun.

Types are checked by the sections' models. Here is what they say of each other, of class lists and
files, and of this machine. Each check is a function that raises InputError; all faults are
reported together. Warnings are for what works but may not be meant.
"""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from clipworks.chat import replay
from clipworks.kit.classes import Synonyms, misspelt, read_classes, read_synonyms
from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE
from clipworks.kit.params import GENERATED, MODELS, collect
from clipworks.kit.runtime import check_launcher, pick_device
from clipworks.settings.whole import Params
from clipworks.tuning.params import TrainModel
from clipworks.worlds.listing import Split, check_place
from clipworks.writing.labels import claims
from clipworks.writing.rules import foreign_script


def check(params: Params) -> list[str]:
    """Check all of params.yaml; returns warnings.

    Raises:
        InputError: everything that is wrong, a line each.
    """
    names = read_classes(Path(params.base.classes))
    synonyms = read_synonyms(Path(params.base.synonyms))
    collect(_checks(params, names, synonyms))
    return list(_warnings(params, names, synonyms))


def _warnings(params: Params, names: list[str], synonyms: Synonyms) -> Iterator[str]:
    """What can be run, and may not be meant."""
    from clipworks.miniature.scene import check_glyphs

    if odd := misspelt(synonyms, names):
        yield f"base.synonyms: {params.base.synonyms} lists {', '.join(odd)}, which are no classes"
    sources = {"world": params.world.source, "backbone": params.backbone.source}
    if drawn := [section for section, source in sources.items() if source == "miniature"]:
        try:
            check_glyphs(names)
        except InputError as error:
            yield f"{', '.join(drawn)}: {error}; captions can be written all the same (dvc repro filter)"
    unread = []
    if params.world.source == "miniature":
        unread += [(f"world.files.{key}", path) for key, path in params.world.files]
    if params.backbone.source == "miniature":
        unread.append(("backbone.checkpoint", params.backbone.checkpoint))
    for key, path in unread:
        if Path(path) != NONE:
            section = key.partition(".")[0]
            yield f"{key}: {path} is not read, since {section}.source is miniature"


def _checks(params: Params, names: list[str], synonyms: Synonyms) -> Iterator[Callable[[], None]]:
    yield partial(_names, params, names, synonyms)
    yield partial(_device, params)
    yield partial(_world, params)
    yield partial(_backbone, params, names)
    yield partial(_chat, params, names)
    yield partial(_kinds, params)
    yield partial(_companions, params)
    yield partial(_groups, params, names)
    yield partial(_starts, params)
    yield partial(_init_words, params)
    yield partial(_ensemble, params, names)
    yield partial(_evaluate, params, names)
    yield partial(check_launcher, params.launcher)


def _evaluate(params: Params, names: list[str]) -> None:
    if params.evaluate.decision == "top_k" and params.evaluate.decision_k >= len(names):
        raise InputError(
            f"evaluate.decision_k: {params.evaluate.decision_k} of {len(names)} classes would give "
            "every image every tag; choose fewer, or evaluate.decision=threshold"
        )


def _names(params: Params, names: list[str], synonyms: Synonyms) -> None:
    claims(names, synonyms)
    if foreign := [name for name in names if foreign_script(name)]:
        raise InputError(
            f"base.classes: {foreign[:5]} are not in Latin letters, and a caption with other letters "
            "is rejected (filter: foreign_script); name the classes in English, as CLIP reads it"
        )
    if unknown := sorted(set(params.caption.challenge_classes) - set(names)):
        raise InputError(
            f"caption.challenge_classes: {unknown} are not in {params.base.classes}; name hard "
            "classes of that list, or none: []"
        )


def _device(params: Params) -> None:
    wanted = params.base.device
    halves = [
        f"train.{m}.precision" for m in MODELS if getattr(params.train, m).precision == "fp16"
    ]
    if wanted in ("cuda", "mps") or halves:
        device = pick_device(wanted)  # imports torch: only where it is needed
        if halves and device.type == "cpu":
            raise InputError(f"{halves[0]}: fp16 needs a GPU; on a CPU fp32 and bf16 are allowed")


def _world(params: Params) -> None:
    if params.world.source == "miniature":
        for split in ("validation", "test"):
            if not getattr(params.world, split):
                raise InputError(
                    f"world.{split}: 0 images of the miniature world; draw at least 1 (0 stands for all "
                    "images of a COCO split)"
                )
        return _disk(params)
    files = params.world.files
    same = (files.validation_images, files.validation_labels) == (
        files.test_images,
        files.test_labels,
    )
    if same and Path(files.test_images) != NONE:
        raise InputError(
            f"world.files: validation and test are the same images ({files.test_images}), so what is chosen "
            "would be chosen on the test; give data/none for no validation split"
        )
    faults = []
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        try:
            check_place(params.world, split)
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n  ".join(faults))


def _disk(params: Params) -> None:
    """A drawn picture takes at most its pixels' bytes; DVC links its copy where it can."""
    count = params.world.validation + params.world.test
    need, free = 3 * count * params.world.scene.side**2, shutil.disk_usage(".").free
    if need > free:
        raise InputError(
            f"world: {count:,} pictures of {params.world.scene.side} pixels take up to "
            f"{need / 1e9:,.0f} GB, and {free / 1e9:,.0f} GB are free; draw fewer (world.test, "
            "world.validation) or smaller ones"
        )


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
    if file is None:
        pretrained.check_reachable(section.model, section.pretrained)


def _chat(params: Params, names: list[str]) -> None:
    address = params.chat.openai.base_url
    if params.chat.engine == "openai" and urlsplit(address).scheme not in ("http", "https"):
        raise InputError(
            f"chat.openai.base_url: {address!r} is no http address; http://HOST:PORT/v1"
        )
    if params.chat.engine == "replay":
        folder = params.chat.replay.folder  # all is read: such files are small
        sum(1 for _ in replay.combinations(Path(folder), names))
        replay.ReplayEngine(folder)


def _kinds(params: Params) -> None:
    section = params.caption
    written = [kind for kind in GENERATED if getattr(section, f"{kind}_rounds")]
    if not set(params.cooccurrence.sources) & set(written):
        raise InputError(
            f"cooccurrence.sources: {params.cooccurrence.sources}, and no such captions are asked for "
            f"(caption.KIND_rounds is 0); there will be {written}"
        )


def _companions(params: Params) -> None:
    from clipworks.tuning.companions import read_companions

    read_companions(params.encode_captions.companions)


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
    for model in MODELS:
        one: TrainModel = getattr(params.train, model)
        if unknown := sorted(set(one.hard_list) - set(groups)):
            raise InputError(f"train.{model}.hard_list: no group {unknown}; there are {groups}")
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
            for key in ("contexts", "class_specific"):
                here, there = getattr(one, key), getattr(before, key)
                if here != there:
                    raise InputError(
                        f"train.{seen[-1]}.{key}: {here}, but it goes on from train.{other}, where it "
                        f"is {there}; make them equal"
                    )
            seen.append(other)
            one = before


def _tokens(texts: list[str]) -> list[int]:
    """How many tokens texts have, without begin and end.

    Every tower that prompts can be tuned on has CLIP's own tokenizer (pretrained.check).
    """
    from clipworks.clip import text  # imports torch and open_clip
    from clipworks.clip.backbone import tokenizer

    return [count - 2 for count in text.lengths(tokenizer(1_000)(texts)).tolist()]


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

        lists = Path(section.lists)
        if unknown := sorted(set(routing.listed(lists, MODELS)) - set(names)):
            raise InputError(
                f"ensemble.lists: {lists} routes {unknown[:8]}, which are not in "
                f"{params.base.classes}; give lists for these classes (ensemble.lists), or use "
                "ensemble.routing=held_out"
            )
