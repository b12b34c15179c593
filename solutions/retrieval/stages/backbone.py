"""The CLIP under everything: pretrain a miniature one, or fetch published weights."""

from pathlib import Path
from typing import Any

import torch

from clipworks.clip import backbone, pretrained
from clipworks.kit import runtime, tables
from clipworks.kit.cli import stage
from clipworks.kit.files import NONE
from clipworks.kit.params import load
from clipworks.miniature import pretrain
from clipworks.retrieval import world
from clipworks.retrieval.params import Backbone, Base, World

OUT = Path("models/backbone")
LOG = Path("data/backbone/losses.tsv")


def main() -> None:
    """Write weights and configuration as open_clip reads them from a local folder."""
    base, params = load("base", Base), load("backbone", Backbone)
    with runtime.measured("backbone"):
        if params.source == "pretrained":
            file = None if Path(params.checkpoint) == NONE else Path(params.checkpoint)
            model, config, preprocess = pretrained.load(
                params.model, params.pretrained, file, params.activation, "backbone"
            )
            tables.write_tsv(LOG, ("step", "phase", "loss"), [])
        else:
            config, preprocess = pretrain.config(params), pretrain.preprocess(params)
            model = backbone.new(config, seed=base.seed)
            visual: Any = model.visual
            visual.to(memory_format=torch.channels_last)  # twice as fast on CPUs
            camera = load("world", World).miniature.street
            pictures, nouns, texts = world.pairs(
                camera, side=params.scene.side, share=params.street, count=params.images,
                seed=base.seed, workers=params.workers,
            )  # fmt: skip
            pretrain.train(
                model, torch.from_numpy(pictures), nouns, world.nouns(),
                tokenize=backbone.tokenizer(params.context_length), seed=base.seed,
                trunk_steps=params.trunk_steps, pair_steps=params.pair_steps, log=LOG, texts=texts,
            )  # fmt: skip
        backbone.save(OUT, model, config, preprocess)
    weights = sum(p.numel() for p in model.parameters())
    print(f"backbone: {weights / 1e6:.1f}M weights ({params.source}) -> {OUT}")


if __name__ == "__main__":
    stage(main)
