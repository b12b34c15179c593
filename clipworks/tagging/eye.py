"""Looking at images one way: from pixels to logits of classes, by the recommended recipe."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from clipworks.clip.backbone import Backbone
from clipworks.fusion import recipes
from clipworks.fusion.recipes import Recipe
from clipworks.fusion.rows import RECOMMENDED
from clipworks.windows.params import Maps
from clipworks.windows.scorer import Scorer
from clipworks.windows.tower import Cut, Options
from clipworks.windows.visual_pass import Pass

Seeing = Literal["fast", "maps", "crops"]  # the whole image alone; windows off maps; each encoded
LARGEST = 200_000_000  # pixels of an image
RECIPE = Recipe(
    **{
        "global_weight": 1.0, "threshold": 0.0, "top_k": 1, "temperature": 1.0, **RECOMMENDED,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """An image's logits of all classes, and the window that spoke for each most."""

    name: str
    size: tuple[int, int]  # width, height
    logits: np.ndarray  # (class,), float32
    windows: np.ndarray  # (class,), int16: a place in the image's boxes


class Eye:
    """Looks at images one way: from pixels to logits of classes."""

    def __init__(
        self,
        clip: Backbone,
        scorer: Scorer,
        seeing: Seeing,
        *,
        scales: Sequence[int],
        maps: Maps,
        batch_size: int,
        precision: str,
        device: torch.device,
    ) -> None:
        options = Options(
            scales=[] if seeing == "fast" else scales,
            positional=False,
            nearest=1,
            batch_size=batch_size,
            precision=precision,
            store=torch.float32,
            max_pixels=LARGEST,
            windows="maps" if seeing == "maps" else "crops",
            maps=maps,
        )
        nothing = torch.zeros(1, scorer.globals.shape[1])  # no captions in this recipe
        self._pass = Pass(clip, scorer, nothing, options, device)
        self._models = len(scorer.names)
        self._recipe = RECIPE if seeing != "fast" else replace(RECIPE, window_weight=0.0)
        self._classes = len(scorer.class_names)

    def cut(self, name: str, source: Path | bytes) -> Cut:
        """Decode an image and cut its windows; a bad one has a reason in place of them."""
        return self._pass.tower.cut(name, source)

    @property
    def at_once(self) -> int:
        """Pixels that are good to judge together."""
        return 4 * self._pass.tower.at_once

    def judge(self, cuts: Sequence[Cut]) -> list[Judged]:
        """Logits of some images, in their order."""
        if not cuts:
            return []
        found = self._pass.run(list(cuts))
        offsets = found["offsets"].tolist()
        alike: dict[int, list[int]] = {}
        for place, cut in enumerate(cuts):
            alike.setdefault(len(cut.boxes), []).append(place)
        done: dict[int, Judged] = {}
        for places in alike.values():
            rows = [found["logits"][offsets[i] : offsets[i + 1]] for i in places]
            logits, windows = self._fuse(torch.stack(rows))
            for i, values, chosen in zip(places, logits.numpy(), windows.numpy(), strict=True):
                whole = cuts[i].boxes[0]
                done[i] = Judged(
                    cuts[i].name, (whole.right, whole.bottom), values, chosen.astype(np.int16)
                )
        return [done[i] for i in range(len(cuts))]

    def _fuse(self, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """(image, window, kind, model, class) to logits and deciding windows, (image, class)."""
        none = torch.zeros(*stacked.shape[:2], 1)
        matrix = torch.zeros(self._classes, self._classes)
        total: Any = 0
        said: Any = 0
        for model in range(self._models):
            own = stacked[:, :, :, model]
            total = total + recipes.model_logits(own, none, self._recipe, matrix)
            said = said + recipes.spoken(own, none, self._recipe, matrix)
        return total / self._models, recipes.deciding_window(said)
