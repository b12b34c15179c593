"""What the tests of windows and their logits share."""

import torch
from conftest import CLASSES

from clipworks.clip import scoring
from clipworks.windows import shards, visual_pass
from clipworks.windows.params import Maps
from clipworks.windows.scorer import Scorer
from clipworks.windows.tower import Options

OPTIONS = Options(
    scales=[2],
    positional=False,
    nearest=3,
    batch_size=16,
    precision="fp32",
    store=torch.float32,
    max_pixels=10**6,
    windows="crops",
    maps=Maps(resolution=1.0, density=1.0, tolerance=0.1),
)
HOW = {"windows": "maps", "maps": Maps(resolution=1.5, density=1.3, tolerance=0.1)}
SCALES = (scoring.GLOBAL_SCALE, scoring.SPATIAL_SCALE)


def work(clip, models, **changes: object) -> visual_pass.Pass:
    bank = torch.nn.functional.normalize(
        torch.randn(20, 32, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    options = Options(**{**vars(OPTIONS), **changes})
    return visual_pass.Pass(
        clip,
        Scorer.of(models, CLASSES, dict.fromkeys(models, SCALES)),
        bank,
        options,
        torch.device("cpu"),
    )


NAMES = ["0 ü.png", "1 ü.png", "empty.jpg", "2 ü.png", "gone.png", "3 ü.png", "4 ü.png"]


def run(clip, models, folder, out, scratch, *, features=None, **changes) -> dict[str, str]:
    listed, chosen = {"folder": str(folder), "images": NAMES}, work(clip, models, **changes)
    return shards.score_split(chosen, listed, out, scratch=scratch, per_shard=3, features=features)
