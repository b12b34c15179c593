"""What can be known to fail before anything expensive has begun.

Types are checked by the sections' models. Here is what they say of each other, of class lists and
files, and of this machine. Each check is a function that raises InputError; all faults are
reported together. Warnings are for what works but may not be meant.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from clipworks.chat import replay
from clipworks.chat.request import read_templates
from clipworks.kit.classes import Synonyms, misspelt, named, read_classes, read_synonyms
from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE
from clipworks.kit.params import MODELS, collect
from clipworks.kit.runtime import check_launcher, pick_device
from clipworks.settings import check_models
from clipworks.settings.whole import NOT_WRITTEN, Params, written
from clipworks.worlds.listing import Split, check_place, cut_short, find, missing
from clipworks.writing.labels import Labeller, claims, overruled
from clipworks.writing.rules import foreign_script

TEMPLATES = Path("data/templates")
SPLITS: tuple[Split, ...] = ("validation", "test")


def check(params: Params) -> list[str]:
    """Check all of params.yaml; returns warnings.

    Raises:
        InputError: everything that is wrong, a line each.
    """
    warnings: list[str] = []
    try:
        collect(_files(params))
        names = read_classes(Path(params.base.classes))
        synonyms = read_synonyms(Path(params.base.synonyms))
        warnings += _warnings(params, names, synonyms)
        collect(_checks(params, names, synonyms, warnings))
    except InputError as error:  # what is wrong may come of what is not meant
        raise InputError("\n  warning: ".join([str(error), *warnings])) from None
    return warnings


def _files(params: Params) -> Iterator[Callable[[], object]]:
    """Class list and synonyms, by which all else is checked; and, should they fail, what needs neither."""
    own = (
        partial(read_classes, Path(params.base.classes)),
        partial(read_synonyms, Path(params.base.synonyms)),
    )
    try:
        collect(own)
    except InputError:
        yield from own
        yield partial(_device, params, [])
        for split in SPLITS if params.world.source != "miniature" else ():
            yield partial(check_place, params.world, split)
        yield partial(check_launcher, params.launcher)


def _warnings(params: Params, names: list[str], synonyms: Synonyms) -> Iterator[str]:
    """What can be run, and may not be meant."""
    from clipworks.miniature.scene import check_glyphs

    if odd := misspelt(synonyms, names):
        yield f"base.synonyms: {params.base.synonyms} lists {', '.join(odd)}, which are no classes"
    for line in overruled(names, synonyms):
        yield f"base.synonyms: {params.base.synonyms}: {line}"
    sources = {"world": params.world.source, "backbone": params.backbone.source}
    if drawn := [section for section, source in sources.items() if source == "miniature"]:
        try:
            check_glyphs(names, drawn=drawn)
        except InputError as error:
            yield f"{', '.join(drawn)}: {error}; captions can be written all the same (dvc repro filter)"
    unread = []
    if params.world.source == "miniature":
        unread += [(f"world.files.{key}", path) for key, path in params.world.files]
    else:
        for key, path in params.world.files:
            if Path(path) != NONE and not Path(path).is_absolute():
                yield (
                    f"world.files.{key}: {path} is relative; experiments of --temp and --queue run in another "
                    "folder and will not find it: give it absolutely"
                )
    if params.world.source in ("coco", "folder"):
        unread.append(("world.files.label_folder", params.world.files.label_folder))
    if params.backbone.source == "miniature":
        unread.append(("backbone.checkpoint", params.backbone.checkpoint))
    for key, path in unread:
        if Path(path) != NONE:
            section = key.partition(".")[0]
            source = getattr(params, section).source
            yield f"{key}: {path} is not read, since {section}.source is {source}"


def _checks(
    params: Params, names: list[str], synonyms: Synonyms, warnings: list[str]
) -> Iterator[Callable[[], object]]:
    yield partial(_names, params, names, synonyms)
    yield partial(_device, params, warnings)
    yield partial(_world, params, names, warnings)
    yield partial(_chat, params, names)
    yield partial(read_templates, TEMPLATES)
    yield partial(_kinds, params)
    yield partial(_companions, params, names, synonyms)
    yield from check_models.checks(params, names)
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
    named(params.caption.challenge_classes, names, where="caption.challenge_classes")


def _device(params: Params, warnings: list[str]) -> None:
    precisions = {f"train.{m}": getattr(params.train, m).precision for m in MODELS}
    halves = [f"{section}.precision" for section, kind in precisions.items() if kind == "fp16"]
    precisions["infer"] = params.infer.precision
    other = {section: kind for section, kind in precisions.items() if kind != "fp32"}
    if not other and params.base.device not in ("cuda", "mps"):
        return
    from clipworks.windows.precision import imitated  # imports torch: only where it is needed

    device = pick_device(params.base.device)
    if halves and device.type == "cpu":
        raise InputError(f"{halves[0]}: fp16 needs a GPU; on a CPU fp32 and bf16 are allowed")
    for section, kind in other.items():
        if slow := imitated(kind, device):
            warnings.append(f"{section}.precision: {slow}")


def _world(params: Params, names: list[str], warnings: list[str]) -> None:
    if params.world.source == "miniature":
        for split in ("validation", "test"):
            if not getattr(params.world, split):
                raise InputError(
                    f"world.{split}: 0 images of the miniature world; draw at least 1 (0 stands for all "
                    "images of a COCO split)"
                )
        return _disk(params)
    faults, listed = [], []
    for split in SPLITS:
        try:
            # Labels are read: they could fail as late as anything.
            found = find(params.world, split, names)
            warnings += filter(None, (missing(found), cut_short(found, split)))
            folder = found.folder or Path()
            listed.append({os.path.realpath(folder / name) for name in found.images})
        except InputError as error:
            faults.append(str(error))
    if shared := sorted(set.intersection(*listed)) if len(listed) == 2 else []:
        faults.append(
            f"world.files: validation and test share {len(shared):,} images, such as {shared[0]}, so what is "
            "chosen would be chosen on the test; give data/none for no validation split"
        )
    files = [path for paths in listed for path in paths]
    share = sum(not os.path.isfile(path) for path in files) / max(1, len(files))  # noqa: PTH113
    if share > params.infer.max_bad_share:
        faults.append(
            f"infer.max_bad_share: {share:.2%} of the listed images are not there, and "
            f"{params.infer.max_bad_share:.2%} may be bad; get them, or allow more"
        )
    if faults:
        raise InputError("\n  ".join(dict.fromkeys("\n  ".join(faults).split("\n  "))))


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


def _chat(params: Params, names: list[str]) -> None:
    if params.chat.engine == "openai":
        from clipworks.chat.openai_engine import host_of  # imports the client

        host_of(params.chat.openai.base_url)
    model = params.chat.transformers.model
    if params.chat.engine == "transformers" and model.startswith((".", "/", "~")):
        if not Path(model).is_dir():
            raise InputError(f"chat.transformers.model: {model} is no folder")
    if params.chat.engine == "replay":
        folder = params.chat.replay.folder  # all is read: such files are small
        if not replay.combinations(Path(folder), names)[0]:
            raise InputError(
                f"chat.replay.folder: {folder} names no two classes of the list together, in a recording or in "
                f"{replay.LISTED}, so there is nothing to write about; .json recordings name none"
            )
        if not replay.ReplayEngine(folder).holds_answers and params.filter.judge:
            raise InputError(
                f"filter.judge: {folder} holds no recorded answers (.parquet) to its questions; set it to false, or "
                "use another chat.engine"
            )


def _kinds(params: Params) -> None:
    found = written(params)
    if not set(params.cooccurrence.sources) & set(found):
        raise InputError(
            f"cooccurrence.sources: {params.cooccurrence.sources}, and there will be no such captions "
            f"({NOT_WRITTEN}); there will be {found}"
        )


def _companions(params: Params, names: list[str], synonyms: Synonyms) -> None:
    from clipworks.tuning.companions import read_companions

    found = read_companions(params.encode_captions.companions, names)
    if not found:
        return
    labeller = Labeller(names, synonyms)
    for thing in (thing for things in found.values() for thing in things):
        if meant := labeller.label(thing):
            raise InputError(
                f"encode_captions.companions: {thing!r} shows the class {names[meant[0]]!r}, and captions of it "
                "would not be labelled so; take it out"
            )
