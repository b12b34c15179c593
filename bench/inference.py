"""Two ways to see windows, and two to score them: crops and maps, in one pass for all models.

Against the authors' way (each model encodes every crop again), against each other, and against the
bare tower on the same pixels. RN50 at 224 pixels with random weights. `--images FOLDER` takes real
photographs; without it, pictures of the miniature world are painted. The quick form has 1 image at
scale 2 (41 windows), the full one 2 images at scales 2, 3, 4 (305).
"""

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.timing import options, report, seconds
from clipworks.clip import backbone, visual
from clipworks.clip.backbone import Backbone
from clipworks.kit.classes import read_classes
from clipworks.kit.params import MODELS
from clipworks.miniature.params import Scene
from clipworks.miniature.scene import paint
from clipworks.windows import maps, shards, visual_pass
from clipworks.windows.params import Maps
from clipworks.windows.scorer import Scorer
from clipworks.windows.tower import Options

CONFIG: dict[str, Any] = {
    "embed_dim": 1024,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
OPTIONS = Options(
    scales=[2],
    positional=False,
    nearest=10,
    batch_size=32,
    precision="fp32",
    store=torch.float16,
    max_pixels=10**8,
    windows="crops",
    maps=Maps(resolution=1.0, density=1.0, tolerance=0.02),  # the grid of a crop
)
Models = dict[str, dict[str, Tensor]]


def pictures(folder: Path, count: int) -> list[str]:
    """Paint some pictures of 480 pixels."""
    names = read_classes(Path("data/classes/miniature.txt"))
    style = Scene(
        side=480,
        objects=(1, 5),
        object_size=(0.1, 0.5),
        clutter=8,
        distractors=2,
        stranger=0.2,
        tilt=20.0,
    )
    for index in range(count):
        paint(style, names, seed=0, stream="test", index=index)[0].save(folder / f"{index}.png")
    return [f"{index}.png" for index in range(count)]


CLASSES = [str(i) for i in range(80)]


def classes(count: int = 80) -> dict[str, Tensor]:
    """Random class features of the three kinds."""
    return {
        kind: F.normalize(torch.randn(count, 1024), dim=-1)
        for kind in ("global", "local", "evidence")
    }


class Ways:
    """Every way to the same logits, ready to be timed."""

    def __init__(self, folder: Path, names: list[str], scales: list[int], scratch: Path) -> None:
        torch.manual_seed(0)
        model = backbone.new(CONFIG, seed=0).eval().requires_grad_(False)
        means = backbone.OPENAI_MEAN, backbone.OPENAI_STD
        self.clip = Backbone(model, backbone.tokenizer(77), 224, *means, "shortest", "RN50")
        self.bank = F.normalize(torch.randn(5000, 1024), dim=-1)
        self.models: Models = {name: classes() for name in MODELS}
        self.folder, self.names, self.scales, self.scratch = folder, names, scales, scratch
        self._passes = 0

    def work(self, way: Literal["crops", "maps"], models: Models) -> visual_pass.Pass:
        """A visual pass that scores these models."""
        scorer = Scorer.of(models, CLASSES, dict.fromkeys(models, (4.0, 50.0)))
        settings = replace(OPTIONS, scales=self.scales, windows=way)
        return visual_pass.Pass(self.clip, scorer, self.bank, settings, DEVICE)

    def stage(self, way: Literal["crops", "maps"], models: Models) -> None:
        """What the infer stage does, from files to shards."""
        self._passes += 1
        out = self.scratch / f"out{self._passes}"
        listed = {"folder": str(self.folder), "images": self.names}
        work = self.work(way, models)
        shards.score_split(work, listed, out, scratch=out / "scratch", per_shard=100)

    def authors(self) -> None:
        """Each model encodes every crop again."""
        for name, features in self.models.items():
            self.stage("crops", {name: features})

    def bare_tower(self) -> Callable[[], None]:
        """The tower alone on as many random crops."""
        work = self.work("crops", self.models)
        windows = sum(len(work.tower.cut(name, self.folder / name).boxes) for name in self.names)
        # The layout that our cuts have, so that the tower is not flattered by a slower one.
        batch = torch.randn(OPTIONS.batch_size, 3, 224, 224, device=DEVICE)
        batch = batch.contiguous(memory_format=torch.channels_last)
        sizes = [min(len(batch), windows - i) for i in range(0, windows, len(batch))]
        tower: Any = self.clip.model.visual
        return lambda: self._run(
            lambda size: visual.features(tower, batch[:size], positional=False), sizes
        )

    def bare_trunk(self) -> tuple[Callable[[], None], float]:
        """The trunk alone on the pixels of all maps, and how many inputs of the tower they make."""
        work = self.work("maps", self.models)
        cuts = [work.tower.cut(name, self.folder / name) for name in self.names]
        inputs = sum(cut.area for cut in cuts) / self.clip.image_size**2
        means = self.clip.mean, self.clip.std
        waiting = [(0, part) for cut in cuts for part in cut.parts]
        batches = [
            visual.normalise(torch.stack([part.pixels for _, part in batch]), *means)
            for batch in maps.batches(waiting, OPTIONS.batch_size * self.clip.image_size**2)
        ]
        tower: Any = self.clip.model.visual
        return lambda: self._run(lambda batch: visual.trunk(tower, batch), batches), inputs

    @torch.inference_mode()
    def _run(self, do: Callable[[Any], object], over: list[Any]) -> None:
        for one in over:
            do(one)
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    def agreement(self) -> dict[str, dict[str, float]]:
        """Correlation of both ways' logits by the window's share of the image's short side.

        Each class is centred over the windows of a share first: what all windows have in common
        would make any two ways agree.
        """
        found: dict[str, list[Tensor]] = {}
        crops, read = (self.work(way, self.models) for way in ("crops", "maps"))  # type: ignore[arg-type]
        for name in self.names:
            cut = crops.tower.cut(name, self.folder / name)
            both = [
                one.run([one.tower.cut(name, self.folder / name)])["logits"].float()
                for one in (crops, read)
            ]
            short = min(cut.boxes[0].right, cut.boxes[0].bottom)
            sides = [min(b.right - b.left, b.bottom - b.top) / short for b in cut.boxes]
            for index, side in enumerate(sides):
                pair = torch.stack([way[index] for way in both])  # (way, branch, model, class)
                found.setdefault(f"{side:.2f}", []).append(pair)
        return {
            side: {
                branch: round(_correlation(torch.stack(pairs)[:, :, number]), 3)
                for number, branch in enumerate(("global", "local"))
            }
            for side, pairs in sorted(found.items())
            if len(pairs) > 2
        }


def _correlation(pairs: Tensor) -> float:
    centred = pairs - pairs.mean(dim=0)
    return float(torch.corrcoef(centred.transpose(0, 1).flatten(1))[0, 1])


def main() -> None:
    """Measure all ways in turn."""
    chosen = options(__doc__ or "")
    count, scales, repeats = (2, [2, 3, 4], 3) if chosen.full else (1, [2], 1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(chosen.images or temporary)
        names = (
            sorted(p.name for p in folder.glob("*.jpg"))[:count]
            if chosen.images
            else pictures(folder, count)
        )
        ways = Ways(folder, names, scales, Path(temporary))
        tower = ways.bare_tower()
        trunk, inputs = ways.bare_trunk()
        does: dict[str, Callable[[], object]] = {
            "authors": ways.authors,
            "tower": tower,
            "crops": lambda: ways.stage("crops", ways.models),
            "trunk": trunk,
            "maps": lambda: ways.stage("maps", ways.models),
        }
        trunk()
        times: dict[str, list[float]] = {name: [] for name in does}
        for _ in range(repeats):
            for name, do in does.items():
                for _ in range(2 if chosen.full and name != "authors" else 1):
                    times[name].append(seconds(do))
        took = {name: statistics.median(found) for name, found in times.items()}
        agreement = ways.agreement()
        windows = sum(
            len(ways.work("crops", ways.models).tower.cut(n, folder / n).boxes) for n in names
        )
    for name, value in took.items():
        print(f"{name:8s} {value:8.2f} s, {windows / value:7.1f} windows per second")
    for side, found in agreement.items():
        print(f"windows of {side} of the short side: correlation of logits {found}")
    report(
        "inference", took["authors"], took["crops"],
        of_bare_tower=round(took["tower"] / took["crops"], 3), images=len(names), windows=windows,
        models=len(MODELS), batch=OPTIONS.batch_size, maps_s=round(took["maps"], 4),
        map_inputs=round(inputs, 1), maps_ratio=round(took["crops"] / took["maps"], 2),
        maps_of_authors=round(took["authors"] / took["maps"], 2),
        maps_of_bare_trunk=round(took["trunk"] / took["maps"], 3), correlation=agreement,
    )  # fmt: skip


if __name__ == "__main__":
    main()
