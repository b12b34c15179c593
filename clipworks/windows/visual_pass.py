"""One pass of the visual tower over all windows of all images, scored by all models at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from clipworks.clip import visual
from clipworks.clip.backbone import Backbone
from clipworks.kit.ahead import CORES, ahead
from clipworks.windows.scorer import Scorer
from clipworks.windows.tower import Cut, Options, Seen, Tower

# Threads that decode and cut ahead of the tower, on whose device their images wait.
READERS = max(4, min(8, CORES))


class Pass:
    """The visual pass over images, from files to logits."""

    def __init__(
        self,
        backbone: Backbone,
        scorer: Scorer,
        bank: Tensor,
        options: Options,
        device: torch.device,
    ) -> None:
        self.tower = Tower(backbone, options, device)
        self.scorer = scorer.to(device)
        self._bank = bank.to(device)
        self._options = options
        self._device = device

    def ahead(self, folder: Path, names: Sequence[str]) -> Iterator[Cut]:
        """Images in order, decoded by threads a few images ahead of who takes them."""
        return ahead(lambda name: self.tower.cut(name, folder / name), names, threads=READERS)

    def score(self, cuts: Iterable[Cut]) -> dict[str, Tensor]:
        """Score images as they come.

        Returns:
            what `run` returns, of all images; {} where there is none.
        """
        return self._together(cuts, self.run)

    def see(self, cuts: Iterable[Cut]) -> dict[str, Tensor]:
        """Features in half precision, which are all that `rate` needs, of images as they come."""

        def some(waiting: list[Cut]) -> dict[str, Tensor]:
            pooled, dense = self.tower.encode(waiting, torch.float16)
            return {"pooled": pooled, "dense": dense, **_places(waiting)}

        return self._together(cuts, some)

    def _together(
        self, cuts: Iterable[Cut], do: Callable[[list[Cut]], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Take several tower batches at once, so that few of them are not full."""
        parts: list[dict[str, Tensor]] = []
        waiting: list[Cut] = []
        for cut in cuts:
            waiting.append(cut)
            if sum(c.area for c in waiting) >= 4 * self.tower.at_once:
                parts.append(do(waiting))
                waiting = []
        if waiting:
            parts.append(do(waiting))
        if not parts:
            return {}
        merged = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        counts = torch.cat([part["offsets"].diff() for part in parts])
        merged["offsets"] = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return merged

    @torch.inference_mode()
    def run(self, cuts: list[Cut]) -> dict[str, Tensor]:
        """Logits, caption similarities and boxes of some images, windows of all images in a row."""
        return {**self._logits(self.tower.features(cuts)), **_places(cuts)}

    @torch.inference_mode()
    def rate(self, seen: dict[str, Tensor]) -> dict[str, Tensor]:
        """What `score` returns, from what `see` did."""
        rows = torch.arange(len(seen["pooled"])).split(self._options.batch_size)
        parts = (
            Seen(some, *(seen[key][some].to(self._device).float() for key in ("pooled", "dense")))
            for some in rows
        )
        return {**self._logits(parts), "boxes": seen["boxes"], "offsets": seen["offsets"]}

    def _logits(self, seen: Iterable[Seen]) -> dict[str, Tensor]:
        order, logits, similarities = [], [], []
        for rows, pooled, dense in seen:
            blended, nearest = visual.blend_captions(
                pooled, self._bank, nearest=self._options.nearest
            )
            found = self.scorer.score(pooled, blended, dense)
            order.append(rows)
            logits.append(found.to(self._options.store).cpu())
            similarities.append(nearest.to(self._options.store).cpu())
        place = torch.cat(order).argsort()
        return {
            "logits": torch.cat(logits)[place],
            "similarities": torch.cat(similarities)[place],
        }


def _places(cuts: list[Cut]) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor([box for cut in cuts for box in cut.boxes], dtype=torch.int32),
        "offsets": torch.tensor([0, *(len(cut.boxes) for cut in cuts)]).cumsum(0),
    }
