"""What can be known to fail in the retrieval pipeline before a CLIP is trained or loaded."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE, check_plain
from clipworks.kit.images import check_readable
from clipworks.kit.params import PARAMS, collect, load_whole
from clipworks.kit.runtime import check_launcher, pick_device
from clipworks.retrieval import dataset, inventory, parsed
from clipworks.retrieval.inventory import Inventory, check_fill
from clipworks.retrieval.params import (
    Backbone,
    Base,
    Complete,
    Evaluate,
    Finetune,
    Parse,
    Prepare,
    Search,
    Soup,
    Submit,
    World,
)


class Params(BaseModel):
    """solutions/retrieval/params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    base: Base
    world: World
    backbone: Backbone
    parse: Parse
    complete: Complete
    prepare: Prepare
    finetune: dict[str, Finetune]
    soup: Soup
    search: Search
    submit: Submit
    evaluate: Evaluate
    launcher: str  # of finetune: python, or a launcher of several processes


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
    yield partial(check_launcher, params.launcher)
    yield partial(_world, params)
    if params.backbone.source == "pretrained":
        yield partial(_pretrained, params.backbone)
    if Path(params.parse.inventory) != NONE:
        yield partial(_inventory, params)
    yield partial(_models, params)
    yield partial(_submit, params)


def _inventory(params: Params) -> None:
    known = Inventory.load(Path(params.parse.inventory), key="parse.inventory")
    if params.world.source == "miniature":  # which has cars; of others the labels tell
        check_fill(known, params.complete.fill)


def _device(params: Params) -> None:
    halves = [name for name, variant in params.finetune.items() if variant.precision == "fp16"]
    if params.base.device in ("cuda", "mps") or halves:
        device = pick_device(params.base.device)  # imports torch: only where it is needed
        if halves and device.type == "cpu":
            raise InputError(f"finetune.{halves[0]}.precision: fp16 needs a GPU; on a CPU fp32 and bf16 are allowed")  # fmt: skip


def _pairs(params: Params, count: int) -> None:
    """Raises InputError where a step of some fine-tuning takes more pictures than there are."""
    for name, variant in params.finetune.items():
        step = variant.batch_size * variant.accumulation
        if count < step:
            raise InputError(
                f"finetune.{name}: a step takes {variant.batch_size} x {variant.accumulation} pictures, and there "
                f"are {count:,} to train on; lower batch_size or accumulation"
            )


def _world(params: Params) -> None:
    if params.world.source == "miniature" and Path(params.world.folder) != NONE:
        raise InputError(
            f"world.folder: {params.world.folder} would not be read, since world.source is miniature; set "
            f"world.source to folder, or world.folder to {NONE}"
        )
    if params.world.source == "miniature":
        _pairs(params, params.world.miniature.train.cars + params.world.miniature.train.persons)
    else:
        root = Path(params.world.folder)
        if not root.is_dir():
            raise InputError(f"world.folder: {root} is no folder; it must hold train, val and test")
        check_plain(root, "world.folder")
        parts = [Path(split, f"{split}_images") for split in ("train", "val", "test")]
        if gone := [part.as_posix() for part in parts if not (root / part).is_dir()]:
            raise InputError(f"world.folder: {root} has no folder {', '.join(gone)}")
        # All label files are read: they are small, and could fail as late as anything.
        pictures = [dataset.images(root, "test") / name for name in dataset.gallery(root)]
        trained: set[Path] = set()
        for split in dataset.LABELLED:
            found, files, _ = parsed.labelled(root, split, skip_bad=params.parse.skip_bad)
            pictures += files
            real = {path.resolve() for path in files}
            if shared := sorted(trained & real):
                raise InputError(
                    f"world.folder: {root}: train and {split} share {len(shared):,} pictures, such as {shared[0]}, "
                    "so what is chosen would be chosen on what was trained on; give each its own"
                )
            trained |= real
            cars = [record.attribute for record in found if record.kind == "car"]
            if split == "train":
                _pairs(params, len(found))
            if split == "train" and cars:
                own = Path(params.parse.inventory)
                known = (
                    inventory.of(cars)
                    if own == NONE
                    else Inventory.load(own, key="parse.inventory")
                )
                check_fill(known, params.complete.fill)
        dataset.read_truth(root / "test", dataset.gallery(root), dataset.queries(root))
        check_readable(pictures, key="world.folder")


def _pretrained(model: Backbone) -> None:
    from clipworks.clip import pretrained  # imports torch

    file = None if Path(model.checkpoint) == NONE else Path(model.checkpoint)
    pretrained.check(model.model, model.pretrained, file, model.activation, "backbone")
    if file is None:
        pretrained.check_reachable(model.model, model.pretrained, "backbone")


def _models(params: Params) -> None:
    """Soup and rows speak of variants that there are."""
    variants = list(params.finetune)
    for name in params.soup.variants:
        if name not in variants:
            raise InputError(
                f"soup.variants: no variant {name!r} in finetune; there are {variants}"
            )
        if not params.finetune[name].keep_epochs:
            raise InputError(f"soup.variants: finetune.{name}.keep_epochs is false, so there is nothing to mix")  # fmt: skip
    if len({params.finetune[name].square for name in params.soup.variants}) > 1:
        raise InputError(
            f"soup.variants: {params.soup.variants} see pictures in two ways (finetune.NAME.square); a soup has one"
        )
    known = ["backbone", *(f"finetune/{name}" for name in variants), "soup/uniform", "soup/greedy"]
    for name, row in params.search.rows.items():
        if row.model not in known:
            raise InputError(f"search.rows.{name}.model: no model {row.model!r}; there are {known}")


def _submit(params: Params) -> None:
    rows = list(params.search.rows)
    if params.submit.row not in (*rows, "validation"):
        raise InputError(
            f"submit.row: no row {params.submit.row!r}; there are {rows}, or validation"
        )
