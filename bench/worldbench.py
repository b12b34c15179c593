"""The miniature world read once: windows of the test images encoded and kept, models tuned on demand.

Every variant of a model is then a product of matrices.
"""

import tempfile
import time
from dataclasses import dataclass
from itertools import islice
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
from clipworks.windows.params import Infer, Way
from clipworks.windows.scorer import Scorer
from clipworks.windows.tower import Options
from clipworks.worlds import coco

CAPTIONS, BACKBONE, WORLD = (
    Path("data/encode_captions"),
    Path("models/backbone"),
    Path("data/world"),
)


@dataclass
class Seen:
    """Windows of the test images as the tower saw them one way."""

    pooled: Tensor  # (image, window, dim), float16
    dense: Tensor  # (image, window, position, dim), float16
    seconds: float


@dataclass
class Bench:
    """Everything that is read once."""

    names: list[str]
    clip: backbone.Backbone
    table: CaptionTable
    features: CaptionFeatures
    groups: dict[str, list[str]]
    labels: np.ndarray
    seen: dict[Way, Seen]
    bank: Tensor
    conditional: Tensor

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

    def nearest(self, way: Way, *, windows: bool) -> tuple[Tensor, Tensor]:
        """Global features blended with their nearest captions, and the cosines with these."""
        blended, cosines = [], []
        for pooled in self.seen[way].pooled:
            some = pooled if windows else pooled[:1]
            moved, near = visual.blend_captions(some.float(), self.bank, nearest=10)
            blended.append(moved)
            cosines.append(near)
        return torch.stack(blended), torch.stack(cosines)

    def score(
        self, way: Way, pooled: Tensor, classes: dict[str, Tensor], *, windows: bool, local: bool
    ) -> Tensor:
        """Logits (image, window, 2, class) of one model; zeros where `local` is not wanted."""
        scorer = Scorer.of({"one": classes}, self.names, {"one": (4.0, 50.0)})
        count = None if windows else 1
        if not local:
            both = 4.0 * pooled[:, :count].float() @ classes["global"].T
            return torch.stack([both, torch.zeros_like(both)], dim=2)
        found = [
            scorer.score(p[:count].float(), p[:count].float(), d[:count].float())[:, :2, 0]
            for p, d in zip(pooled, self.seen[way].dense, strict=True)
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
    listed = tables.read_json(WORLD / "test.json")
    files, labels = coco.read_labels(WORLD / "annotations/test.json", names)
    images = listed["images"][: limit or None]
    seen = {}
    for way in infer.windows:
        options = Options.of(infer, way)
        work = visual_pass.Pass(clip, scorer, bank, options, torch.device("cpu"))
        seen[way] = look(work, Path(listed["folder"]), images, f"encode {way}")
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
        seen,
        bank,
        matrix,
    )


def look(work: visual_pass.Pass, folder: Path, images: list[str], label: str) -> Seen:
    """Encode the windows of some images of equal window count."""
    pooled, dense = [], []
    begin = time.perf_counter()
    cuts = iter(tqdm(work.ahead(folder, images), total=len(images), desc=label, mininterval=1))
    # Several images at once, as the infer stage takes them.
    while some := list(islice(cuts, 16)):
        p, d = work.tower.encode(some, torch.float16)
        pooled.append(p.unflatten(0, (len(some), -1)))
        dense.append(d.unflatten(0, (len(some), -1)))
    return Seen(torch.cat(pooled), torch.cat(dense), time.perf_counter() - begin)
