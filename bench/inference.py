"""Six models in one pass, against each model encoding every window again; and the bare tower.

RN50 at 224 pixels with random weights. `--images FOLDER` takes real photographs; without it,
pictures of the miniature world are painted. The quick form has 1 image at scale 2 (41 windows).
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from bench.timing import options, report, seconds
from clipworks.clip import backbone, visual
from clipworks.clip.backbone import Backbone
from clipworks.kit.classes import read_classes
from clipworks.kit.params import MODELS
from clipworks.miniature.params import Scene
from clipworks.miniature.scene import paint
from clipworks.windows import shards, visual_pass
from clipworks.windows.params import Maps
from clipworks.windows.scorer import Scorer

CONFIG: dict[str, Any] = {
    "embed_dim": 1024,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


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


def classes(count: int = 80) -> dict[str, torch.Tensor]:
    """Random class features of the three kinds."""
    return {
        kind: F.normalize(torch.randn(count, 1024), dim=-1)
        for kind in ("global", "local", "evidence")
    }


def main() -> None:
    """Measure both ways and the tower alone, in turn."""
    chosen = options(__doc__ or "")
    count, scales, repeats = (8, [2, 3], 3) if chosen.full else (1, [2], 1)
    torch.manual_seed(0)
    model = backbone.new(CONFIG, seed=0).eval().requires_grad_(False)
    clip = Backbone(
        model,
        backbone.tokenizer(77),
        224,
        backbone.OPENAI_MEAN,
        backbone.OPENAI_STD,
        "shortest",
        "RN50",
    )
    settings = visual_pass.Options(
        scales=scales,
        positional=False,
        nearest=10,
        batch_size=32,
        precision="fp32",
        store=torch.float16,
        max_pixels=10**8,
        keep_features=False,
        windows="crops",
        maps=Maps(resolution=1.0, samples=7, tolerance=0.02),
    )
    bank = F.normalize(torch.randn(5000, 1024), dim=-1)
    cpu = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    features = {name: classes() for name in MODELS}
    scales_of = {name: (4.0, 50.0) for name in MODELS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(chosen.images or temporary)
        names = (
            sorted(p.name for p in folder.glob("*.jpg"))[:count]
            if chosen.images
            else pictures(folder, count)
        )
        passes = 0

        def stage(models: dict[str, dict[str, torch.Tensor]]) -> None:
            nonlocal passes
            passes += 1
            work = visual_pass.Pass(clip, Scorer.of(models, scales_of), bank, settings, cpu)
            out = Path(temporary) / f"out{passes}"
            listed = {"folder": str(folder), "images": names}
            shards.score_split(work, listed, out, scratch=out / "scratch", per_shard=100)

        work = visual_pass.Pass(clip, Scorer.of(features, scales_of), bank, settings, cpu)
        windows = sum(len(work.cut(folder, name).boxes) for name in names)
        batch = torch.randn(settings.batch_size, 3, 224, 224, device=cpu)
        # The layout that our cuts have, so that the tower is not flattered by a slower one.
        batch = batch.contiguous(memory_format=torch.channels_last)

        def bare() -> None:
            with torch.inference_mode():
                for start in range(0, windows, settings.batch_size):
                    part = batch[: min(settings.batch_size, windows - start)]
                    visual.features(clip.model.visual, part, positional=False)
                if cpu.type == "cuda":
                    torch.cuda.synchronize()

        def each_alone() -> None:
            for name in MODELS:
                stage({name: features[name]})

        bare()
        slow, fast, tower = [], [], []
        for _ in range(repeats):
            slow.append(seconds(each_alone))
            for _ in range(2 if chosen.full else 1):
                tower.append(seconds(bare))
                fast.append(seconds(lambda: stage(features)))
    slow_s, fast_s, tower_s = (statistics.median(times) for times in (slow, fast, tower))
    print(f"{windows / fast_s:.1f} windows per second, the bare tower {windows / tower_s:.1f}")
    report(
        "inference", slow_s, fast_s, of_bare_tower=round(tower_s / fast_s, 3), images=len(names),
        windows=windows, models=len(MODELS), batch=settings.batch_size,
    )  # fmt: skip


if __name__ == "__main__":
    main()
