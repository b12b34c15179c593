"""One model's cosines of every picture with every prompt: `python -m stages.probabilities wide`."""

import sys
from pathlib import Path

import torch

from clipworks.clip import backbone
from clipworks.kit import runtime, tables
from clipworks.kit.cli import run
from clipworks.kit.params import load
from clipworks.scenes import cache, encoding, sharpening
from clipworks.scenes.params import Base, Probabilities
from clipworks.scenes.prompts import PromptSet

WORLD = Path("data/world")
PROMPTS = Path("data/prompts/prompts.json")
MODELS = Path("models/model")
OUT = Path("data/probabilities")
SPLITS = ("validation", "test")


def main(name: str) -> None:
    """Write cosines at every sharpening factor; their softmax gives per-prompt probabilities."""
    base, params = load("base", Base), load(f"probabilities.{name}", Probabilities)
    device = runtime.pick_device(base.device)
    clip = backbone.load(MODELS / name)
    options = {"batch_size": params.batch_size, "device": device}
    with runtime.measured(f"probabilities_{name}", device) as facts:
        texts = encoding.text_features(clip, PromptSet.load(PROMPTS).texts, **options).numpy()
        for split in SPLITS:
            listed = tables.read_json(WORLD / f"{split}.json")
            paths = [Path(listed["folder"]) / image for image in listed["images"]]
            if paths:  # a folder of one's own may have no validation split
                found = encoding.image_features(
                    clip, paths, params.sharpen, read=sharpening.read, label=split, **options
                )
                images = torch.cat([features for _, features in found], dim=1)
                cache.write(OUT / name, split, params.sharpen, images.numpy(), texts)
            facts[split] = len(paths)
    print(f"probabilities: {name}, {facts['test']:,} test pictures x {len(texts)} prompts x {len(params.sharpen)} sharpenings -> {OUT / name}")  # fmt: skip


if __name__ == "__main__":
    run(main, *sys.argv[1:])
