"""The leaderboard's rows as logits, from stored windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from clipworks.fusion import weighing
from clipworks.fusion.params import Ensemble
from clipworks.fusion.recipes import Recipe, deciding_window, model_logits
from clipworks.fusion.routing import combine
from clipworks.fusion.rows import Row
from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Int
from clipworks.windows import manifest
from clipworks.windows.stored import Stored, read

Routes = dict[str, dict[str, float]]  # by class: the models that decide it, and their shares


@dataclass(frozen=True)
class Board:
    """Logits of shape (image, class) by row, the images' names, and what decided the ensemble.

    `windows`, of shape (image, class), is the window that spoke for each class most, at the model
    that decides it most; 0 stands for the whole image.
    """

    rows: dict[str, Tensor]
    images: list[str]
    windows: Int[Tensor, "image class"]


def score(
    folder: Path,
    split: str,
    wanted: Sequence[Row],
    params: Ensemble,
    routes: Routes,
    conditional: Tensor,
) -> Board:
    """The rows that are wanted, each from windows seen its way (folder/way/split); what decided,
    from crops."""
    board: Board | None = None
    for way in ("crops", "maps"):
        own = [row for row in wanted if row.windows == way]
        if board is None or own:
            stored = folder / way / split
            one = score_way(stored, own, params, routes, conditional, deciding=way == "crops")
            board = one if board is None else replace(board, rows={**board.rows, **one.rows})
            assert one.images == board.images, "both ways read the same images"
    assert board is not None
    return board


def score_way(
    folder: Path,
    wanted: Sequence[Row],
    params: Ensemble,
    routes: Routes,
    conditional: Tensor,
    *,
    deciding: bool = True,
) -> Board:
    """Rows from the stored windows of one folder, streamed; what decided only where it is wanted."""
    order = {name: i for i, name in enumerate(manifest.read(folder, list(routes))["models"])}
    found: dict[str, list[Tensor]] = {}
    images: list[str] = []
    windows: list[Tensor] = []
    for stored in read(folder):
        some = _Images(stored, order, params, conditional)
        images += stored.names
        for row in wanted:
            if row.join != "scaled_mean":
                found.setdefault(row.name, []).append(some.logits(row, routes))
        if deciding:
            windows.append(some.deciding(routes))
    if not images:
        raise InputError(f"{folder} holds no image; {folder.parent}/bad_images.json says why")
    done = {name: torch.cat(parts) for name, parts in found.items()}
    for row in wanted:
        if row.join == "scaled_mean":
            # A class's own scale does not change its AP, so this matters only where models are averaged.
            scaled = [
                weighing.standardise_classes(done[f"{model}_windows"]) for model in row.models
            ]
            done[row.name] = torch.stack(scaled).mean(dim=0)
    decided = torch.cat(windows) if windows else torch.zeros(0, 0, dtype=torch.long)
    return Board(done, images, decided)


class _Images:
    """Some images of equal window count; a model's logits by one recipe are made once."""

    def __init__(
        self, stored: Stored, order: dict[str, int], params: Ensemble, conditional: Tensor
    ) -> None:
        self._stored, self._order = stored, order
        self._params, self._conditional = params, conditional
        self._made: dict[tuple[str, Recipe], Tensor] = {}

    def logits(self, row: Row, routes: Routes) -> Tensor:
        """A row's logits, of shape (image, class)."""
        by_model = {model: self._model(model, row.change) for model in row.models}
        if row.join == "routes":
            return combine(by_model, routes)
        if row.join == "mean":
            return torch.stack(list(by_model.values())).mean(dim=0)
        return by_model[row.models[0]]

    def deciding(self, routes: Routes) -> Tensor:
        """The window that speaks most for each class at the model with the largest share in it."""
        main = [max(shares, key=lambda model: shares[model]) for shares in routes.values()]
        by_model = {
            model: deciding_window(
                self._of(model),
                self._stored.similarities,
                Recipe.of(self._params, model),
                self._conditional,
            )
            for model in sorted(set(main))
        }
        return torch.stack([by_model[model][:, i] for i, model in enumerate(main)], dim=1)

    def _of(self, model: str) -> Tensor:
        return self._stored.logits[:, :, :, self._order[model]]

    def _model(self, model: str, change: dict[str, Any]) -> Tensor:
        recipe = replace(Recipe.of(self._params, model), **change)
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
