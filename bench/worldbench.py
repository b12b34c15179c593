"""The miniature world read once: windows of the test images encoded and kept, models tuned on demand.

Every variant of a model is then a product of matrices.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from clipworks.clip import backbone, hand, visual
from clipworks.clip.features import CaptionFeatures
from clipworks.kit import metrics, tables
from clipworks.kit.classes import read_classes
from clipworks.kit.params import Base, load
from clipworks.tuning import selection, training
from clipworks.tuning.captions import CaptionTable
from clipworks.tuning.params import TrainModel
from clipworks.tuning.result import Result
from clipworks.windows import visual_pass
from clipworks.windows.params import Infer
from clipworks.windows.scorer import Scorer
from clipworks.windows.tower import Options
from clipworks.worlds import coco

CAPTIONS, BACKBONE, WORLD = (
    Path("data/encode_captions"),
    Path("models/backbone"),
    Path("data/world"),
)


@dataclass
class Bench:
    """Everything that is read once."""

    names: list[str]
    clip: backbone.Backbone
    table: CaptionTable
    features: CaptionFeatures
    groups: dict[str, list[str]]
    labels: np.ndarray
    pooled: Tensor  # (image, window, dim), float16
    dense: Tensor  # (image, window, position, dim), float16
    bank: Tensor
    conditional: Tensor
    encode_seconds: float

    def tune(self, settings: TrainModel, seed: int, start: Any = None) -> Result:
        """Tune one model; `start` gives the prompts that it goes on from."""
        data = selection.select(self.table, self.features, settings, self.groups)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "start.safetensors"
            if start is not None:
                start.save(path)
            return training.Tuning(
                lambda: selection.begin(self.clip, self.names, settings, path, seed=seed),
                self.clip.model, data, settings, seed=seed, accelerator=Accelerator(cpu=True),
                scratch=Path(folder) / "state", label=f"seed {seed}",
            ).run()  # fmt: skip

    def nearest(self, *, windows: bool) -> tuple[Tensor, Tensor]:
        """Global features blended with their nearest captions, and the cosines with these."""
        blended, cosines = [], []
        for pooled in self.pooled:
            some = pooled if windows else pooled[:1]
            moved, near = visual.blend_captions(some.float(), self.bank, nearest=10)
            blended.append(moved)
            cosines.append(near)
        return torch.stack(blended), torch.stack(cosines)

    def score(
        self, pooled: Tensor, classes: dict[str, Tensor], *, windows: bool, local: bool
    ) -> Tensor:
        """Logits (image, window, 2, class) of one model; zeros where `local` is not wanted."""
        scorer = Scorer.of({"one": classes}, self.names, {"one": (4.0, 50.0)})
        count = None if windows else 1
        if not local:
            both = 4.0 * pooled[:, :count].float() @ classes["global"].T
            return torch.stack([both, torch.zeros_like(both)], dim=2)
        found = [
            scorer.score(p[:count].float(), p[:count].float(), d[:count].float())[:, :, 0]
            for p, d in zip(pooled, self.dense, strict=True)
        ]
        return torch.stack(found)

    def test_map(self, logits: Tensor) -> float:
        """mAP on the test split, in percent."""
        return 100 * float(np.nanmean(metrics.average_precision(self.labels, logits.numpy())))


@torch.no_grad()  # not inference mode: the model goes on to training
def prepare(limit: int) -> Bench:
    """Read the pipeline's outputs and encode the test windows once."""
    base, infer = load("base", Base), load("infer", Infer)
    names = read_classes(Path(base.classes))
    clip = backbone.load(BACKBONE)
    table = CaptionTable(CAPTIONS / "captions.parquet", names)
    features = CaptionFeatures(CAPTIONS)
    bank = features.pooled(table.generated_texts())
    scorer = Scorer.of({"hand": hand.one_template(clip, names)}, names, {"hand": (4.0, 50.0)})
    work = visual_pass.Pass(clip, scorer, bank, Options.of(infer, "crops"), torch.device("cpu"))
    listed = tables.read_json(WORLD / "test.json")
    files, labels = coco.read_labels(WORLD / "annotations/test.json", names)
    images = listed["images"][: limit or None]
    pooled, dense = [], []
    begin = time.perf_counter()
    for cut in tqdm(
        work.ahead(Path(listed["folder"]), images),
        total=len(images),
        desc="encode windows",
    ):
        p, d = work.tower.encode([cut])
        pooled.append(p.half())
        dense.append(d.half())
    matrix = load_file("data/cooccurrence/matrix.safetensors")["conditional"]
    groups = tables.read_json(Path("data/hard_groups/groups.json"))
    rows = labels[[files.index(name) for name in images]]
    return Bench(
        names,
        clip,
        table,
        features,
        groups,
        rows,
        torch.stack(pooled),
        torch.stack(dense),
        bank,
        matrix,
        time.perf_counter() - begin,
    )
