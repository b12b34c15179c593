"""The leaderboard's rows as logits, from stored windows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from tqdm import tqdm

from clipworks.fusion import weighing
from clipworks.fusion.params import Ensemble
from clipworks.fusion.recipes import Recipe, deciding_window, model_logits, spoken
from clipworks.fusion.routing import combine
from clipworks.fusion.rows import Row
from clipworks.kit.ahead import ahead
from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Int
from clipworks.windows import manifest
from clipworks.windows.stored import Stored, read

SHOWN = ("recommended", "recommended_crops")  # rows whose deciding windows are kept, for pictures
Routes = dict[str, dict[str, float]]  # by class: the models that decide it, and their shares


@dataclass(frozen=True)
class Board:
    """Logits of shape (image, class) by row, the images' names, and what decided the ensembles.

    `windows`, of shape (image, class), holds for the recommended recipe, by each way of seeing, the
    window that spoke for each class most; 0 stands for the whole image.
    """

    rows: dict[str, Tensor]
    images: list[str]
    windows: dict[str, Int[Tensor, "image class"]]


class OneWay(NamedTuple):
    """What `Board` holds, of windows seen one way."""

    rows: dict[str, Tensor]
    images: list[str]
    windows: dict[str, Tensor]


def score(
    folder: Path,
    split: str,
    wanted: Sequence[Row],
    params: Ensemble,
    routes: Routes,
    conditional: Tensor,
) -> Board:
    """The rows that are wanted, each from windows seen its way (folder/way/split)."""
    found: dict[str, Tensor] = {}
    windows: dict[str, Tensor] = {}
    images: list[str] | None = None
    for way in dict.fromkeys(row.windows for row in wanted):
        own = [row for row in wanted if row.windows == way]
        one = score_way(folder / way / split, own, params, routes, conditional)
        if images not in (None, one.images):
            other = sorted(set(images or ()) ^ set(one.images))
            raise InputError(
                f"{folder}: the ways did not read the same images of {split}: {', '.join(other[:5])} (see their "
                "bad_images.json); run `dvc repro -f infer`"
            )
        found, images = {**found, **one.rows}, one.images
        windows |= one.windows
    return Board(found, images or [], windows)


def score_way(
    folder: Path,
    wanted: Sequence[Row],
    params: Ensemble,
    routes: Routes,
    conditional: Tensor,
) -> OneWay:
    """Rows from the stored windows of one folder, streamed."""
    order = {name: i for i, name in enumerate(manifest.read(folder, list(routes))["models"])}
    simple = [row for row in wanted if row.join != "scaled_mean"]
    shown = [row for row in wanted if row.name in SHOWN]

    def score(stored: Stored) -> tuple[list[str], list[Tensor], list[Tensor]]:
        some = _Images(stored, order, params, conditional)
        logits = [some.logits(row, routes) for row in simple]
        return stored.names, logits, [some.deciding(row) for row in shown]

    images: list[str] = []
    parts: list[list[Tensor]] = []
    windows: list[list[Tensor]] = []
    bar = tqdm(desc=f"ensemble {folder.name}", unit="image", delay=3, mininterval=1, leave=False)
    for names, logits, decided in _by_threads(score, read(folder)):
        images += names
        parts.append(logits)
        windows.append(decided)
        bar.update(len(names))
    bar.close()
    if not images:
        raise InputError(f"{folder} holds no image; {folder.parent}/bad_images.json says why")
    done = {row.name: torch.cat(each) for row, *each in zip(simple, *parts, strict=True)}
    for row in wanted:
        if row.join == "scaled_mean":
            # A class's own scale does not change its AP, so this matters only where models are averaged.
            scaled = [
                weighing.standardise_classes(done[f"{model}_windows"]) for model in row.models
            ]
            done[row.name] = torch.stack(scaled).mean(dim=0)
    if odd := [name for name, logits in done.items() if not logits.isfinite().all()]:
        raise InputError(
            f"ensemble: logits of {', '.join(odd[:3])} are beyond what float32 holds; lower the weights of section "
            "ensemble (cooccurrence_weight, window_weight, local_weight)"
        )
    decided = {row.name: torch.cat(each) for row, *each in zip(shown, *windows, strict=True)}
    return OneWay(done, images, decided)


def _by_threads(score: Callable[[Stored], Any], some: Iterable[Stored]) -> Iterator[Any]:
    """Some images a thread. Many small steps are faster so than each of them by all threads."""
    count = torch.get_num_threads()
    try:
        yield from ahead(score, some, threads=count, begin=partial(torch.set_num_threads, 1))
    finally:
        torch.set_num_threads(count)


class _Images:
    """Some images of equal window count; a model's logits by one recipe are made once."""

    def __init__(
        self, stored: Stored, order: dict[str, int], params: Ensemble, conditional: Tensor
    ) -> None:
        self._stored, self._order = stored, order
        self._params, self._conditional = params, conditional
        self._made: dict[tuple[str, Recipe], Tensor] = {}
        self._read: dict[str, Tensor] = {}

    def logits(self, row: Row, routes: Routes) -> Tensor:
        """A row's logits, of shape (image, class)."""
        by_model = {model: self._model(model, self._recipe(model, row)) for model in row.models}
        if row.join == "routes":
            return combine(by_model, routes)
        if row.join == "mean":
            return torch.stack(list(by_model.values())).mean(dim=0)
        return by_model[row.models[0]]

    def deciding(self, row: Row) -> Tensor:
        """The window that speaks most for each class, over a row's models, of shape (image, class)."""
        said = [
            spoken(self._of(m), self._stored.similarities, self._recipe(m, row), self._conditional)
            for m in row.models
        ]
        return deciding_window(torch.stack(said).mean(dim=0))

    def _recipe(self, model: str, row: Row) -> Recipe:
        return replace(Recipe.of(self._params, model), **row.change)

    def _of(self, model: str) -> Tensor:
        if model not in self._read:
            found = self._stored.of(self._order[model])
            if not found.isfinite().all():
                raise InputError(
                    f"infer stored logits of {model} that are no finite numbers (images from "
                    f"{self._stored.names[0]} on): infer.store float32 holds more; otherwise its weights are at fault"
                )
            self._read[model] = found
        return self._read[model]

    def _model(self, model: str, recipe: Recipe) -> Tensor:
        if (model, recipe) not in self._made:
            self._made[model, recipe] = model_logits(
                self._of(model), self._stored.similarities, recipe, self._conditional
            )
        return self._made[model, recipe]


def submission(images: Sequence[str], scored: Sequence[str], logits: Tensor) -> list[list[float]]:
    """One row per image in the given order; an image that could not be scored gets each class's
    lowest logit, so that no row moves and none of its classes ranks before a scored image's."""
    place = {name: row for row, name in enumerate(scored)}
    lowest = logits.amin(dim=0)
    lines = [logits[place[name]] if name in place else lowest for name in images]
    found: list[list[float]] = torch.round(torch.stack(lines), decimals=5).tolist()
    return found


def write_predictions(
    path: Path, images: Sequence[str], names: Sequence[str], logits: Tensor
) -> None:
    """One row per image: its name and each class's logit, in a column "logit CLASS" (a class may be
    called "image")."""
    columns = {f"logit {n}": v for n, v in zip(names, logits.T.numpy(), strict=True)}
    pq.write_table(pa.table({"image": pa.array(images), **columns}), path, compression="zstd")
