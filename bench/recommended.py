"""Which recipe to recommend: candidates on the validation split of whole seeds, then the chosen on test.

    python -m bench.recommended . scratch/seeds/1 scratch/seeds/2

Each folder is a project that has run (bench.whole_seeds leaves them); features of its windows lie in its
scratch/. Models are the 80 templates and the six tuned ones; every window is standardised over classes.
Captions: blended into windows' features (all generated captions, 1,000 of them, the 80 templates' class
features in their place), or not at all. Some minutes a folder.
"""

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from clipworks.clip import backbone, hand, scoring, visual
from clipworks.clip.features import CaptionFeatures
from clipworks.fusion import recipes
from clipworks.kit import metrics
from clipworks.kit.classes import read_classes
from clipworks.kit.params import MODELS
from clipworks.tagging.eye import RECIPE
from clipworks.tuning import prompts
from clipworks.tuning.captions import CaptionTable
from clipworks.windows.scorer import Scorer
from clipworks.worlds import coco

CHOSEN = ("none", "all seven", 6.0, 1.0)
MODEL_SETS = {"80 templates": ("hand80",), "six tuned": MODELS, "all seven": ("hand80", *MODELS)}


class Candidate(NamedTuple):
    """What is compared."""

    captions: str
    models: str
    window_weight: float
    local_weight: float


class Project:
    """A project's scorer, banks of captions and kept features."""

    def __init__(self, root: Path, images: int = 0) -> None:
        self.images = images  # of each split, at most; 0 for all
        self.root, self.names = root, read_classes(root / "data/classes/miniature.txt")
        clip = backbone.load(root / "models/backbone")
        classes = {"hand80": hand.eighty_templates(clip, self.names)}
        scales = {"hand80": (scoring.GLOBAL_SCALE, scoring.SPATIAL_SCALE)}
        for model in MODELS:
            one = prompts.load(root / f"models/train/{model}/prompts.safetensors", clip, self.names)
            classes[model] = one(clip.model)
            scales[model] = float(one.global_scale), float(one.spatial_scale)
        self.scorer = Scorer.of(classes, self.names, scales)
        captions = root / "data/encode_captions"
        table = CaptionTable(captions / "captions.parquet", self.names)
        bank = CaptionFeatures(captions).pooled(table.generated_texts())
        some = torch.randperm(len(bank), generator=torch.Generator().manual_seed(0))[:1000]
        self.banks = {"all": bank, "1,000": bank[some], "classes": classes["hand80"]["global"]}

    def seen(self, way: str, split: str) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, pooled and dense features of each image's windows."""
        (folder,) = (self.root / "scratch/features").glob(f"{way}-{split}-*")
        for path in sorted(folder.glob("*.safetensors")):
            part = load_file(path)
            ends = part["offsets"].tolist()
            names = json.loads(path.with_suffix(".json").read_text())["images"]
            for name, a, b in zip(names, ends[:-1], ends[1:], strict=True):
                yield name, part["pooled"][a:b].float(), part["dense"][a:b].float()

    def measure(self, way: str, split: str, candidates: list[Candidate]) -> dict[Candidate, float]:
        """mAP of each candidate."""
        found: dict[Candidate, list[Tensor]] = {one: [] for one in candidates}
        wanted = {one.captions for one in candidates}
        files = []
        seen = islice(self.seen(way, split), self.images or None)
        for name, pooled, dense in tqdm(seen, desc=f"{self.root} {split}", mininterval=5):
            files.append(name)
            for captions in wanted:
                logits, alike = self._logits(captions, pooled, dense)
                for one in candidates:
                    if one.captions == captions:
                        found[one].append(self._fused(one, logits, alike))
        truth = coco.labels_of(
            self.root / f"data/world/annotations/{split}.json", self.names, files
        )
        assert truth is not None, "the miniature world is labelled"
        return {
            one: metrics.mean_ap(metrics.average_precision(truth, torch.stack(rows).numpy()))
            for one, rows in found.items()
        }

    def _logits(self, captions: str, pooled: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        if captions == "none":
            return self.scorer.score(pooled, pooled, dense), torch.zeros(len(pooled), 1)
        blended, alike = visual.blend_captions(pooled, self.banks[captions], nearest=10)
        return self.scorer.score(pooled, blended, dense), alike

    def _fused(self, one: Candidate, logits: Tensor, alike: Tensor) -> Tensor:
        with_captions = one.captions != "none"
        recipe = replace(
            RECIPE, captions=with_captions, similarity=with_captions,
            window_weight=one.window_weight, local_weight=one.local_weight,
        )  # fmt: skip
        matrix = torch.zeros(len(self.names), len(self.names))
        order = [self.scorer.names.index(name) for name in MODEL_SETS[one.models]]
        each = [
            recipes.model_logits(logits[None, :, :, m], alike[None], recipe, matrix) for m in order
        ]
        return torch.stack(each).mean(dim=0)[0]


@torch.inference_mode()
def main() -> None:
    """Print validation mAP of all candidates by seed, and the chosen one's test mAP."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=0, help="of each split, at most")
    chosen_options = parser.parse_args()
    projects = [Project(folder, chosen_options.images) for folder in chosen_options.folders]
    candidates = [
        Candidate(*values)
        for values in itertools.product(
            ("all", "1,000", "classes", "none"), MODEL_SETS, (3.0, 6.0, 12.0), (1.0,)
        )
    ] + [Candidate("none", "all seven", 6.0, weight) for weight in (0.5, 2.0)]
    table = pd.DataFrame(
        {str(p.root): p.measure("maps", "validation", candidates) for p in projects}
    )
    table["mean"] = table.mean(axis=1)
    print(table.sort_values("mean", ascending=False).round(1).to_markdown())
    chosen = [Candidate(*CHOSEN), Candidate("none", "80 templates", 6.0, 1.0)]
    for way in ("maps", "crops"):
        test = pd.DataFrame({str(p.root): p.measure(way, "test", chosen) for p in projects})
        test["mean"], test["spread"] = test.mean(axis=1), np.std(test.to_numpy(), axis=1, ddof=1)
        print(f"\nchosen, {way}, test mAP\n\n{test.round(1).to_markdown()}")


if __name__ == "__main__":
    main()
