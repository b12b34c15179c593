"""One model's cosines of every picture with every prompt: `python -m stages.probabilities wide`."""

from pathlib import Path
from typing import Any

from clipworks.clip import backbone
from clipworks.kit import images, runtime, tables
from clipworks.kit.checkpoint import scratch_folder
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.scenes import cache, encoding, folder
from clipworks.scenes.params import Base, Probabilities
from clipworks.scenes.prompts import PromptSet

WORLD = Path("data/world")
PROMPTS = Path("data/prompts/prompts.json")
MODELS = Path("models/model")
OUT = Path("data/probabilities")
SPLITS = ("validation", "test")


def main(name: str = "") -> None:
    """Write cosines at every sharpening factor; their softmax gives per-prompt probabilities."""
    base, params = load("base", Base), load(f"probabilities.{name}", Probabilities)
    device = runtime.pick_device(base.device)
    clip = backbone.load(MODELS / name)
    options: dict[str, Any] = {"batch_size": params.batch_size, "device": device}
    with runtime.measured(f"probabilities_{name}", device) as facts:
        texts = encoding.text_features(clip, PromptSet.load(PROMPTS).texts, **options).numpy()
        for split in SPLITS:
            listed = tables.read_json(WORLD / f"{split}.json", folder.Pictures)
            paths = [Path(listed["folder"]) / image for image in listed["images"]]
            if paths:  # a folder of one's own may have no validation split
                kept = scratch_folder(
                    f"probabilities/{name}/{split}", params.sharpen, backbone.files(MODELS / name)
                )
                features = encoding.kept_features(
                    clip, paths, params.sharpen, folder=kept, read=images.as_stored, label=split,
                    **options,
                ).numpy()  # fmt: skip
                cache.write(OUT / name, split, params.sharpen, features, texts)
            facts[split] = len(paths)
    print(f"probabilities: {name}, {facts['test']:,} test pictures x {len(texts)} prompts x {len(params.sharpen)} sharpenings -> {OUT / name}")  # fmt: skip


if __name__ == "__main__":
    stage(main)
