"""One CLIP: pretrain a miniature one, or fetch published weights: `python -m stages.model wide`."""

from pathlib import Path

import torch

from clipworks.clip import backbone, pretrained
from clipworks.kit import runtime, tables
from clipworks.kit.cli import stage
from clipworks.kit.files import NONE
from clipworks.kit.params import load
from clipworks.miniature import pretrain
from clipworks.scenes import painting
from clipworks.scenes.params import Base, Model

MODELS = Path("models/model")
LOGS = Path("data/model")


def main(name: str = "") -> None:
    """Write weights and configuration as open_clip reads them from a local folder."""
    base, params = load("base", Base), load(f"model.{name}", Model)
    with runtime.measured(f"model_{name}"):
        log = LOGS / f"{name}.tsv"
        if params.source == "pretrained":
            file = None if Path(params.checkpoint) == NONE else Path(params.checkpoint)
            model, config, preprocess = pretrained.load(
                params.model, params.pretrained, file, params.activation, f"model.{name}"
            )
            tables.write_tsv(log, ("step", "phase", "loss"), [])
        else:
            seed = base.seed + params.seed
            config, preprocess = pretrain.config(params), pretrain.preprocess(params)
            model = backbone.new(config, seed=seed)
            painting.check(base.places)
            pictures, nouns = painting.pairs(
                params.scene, base.places, count=params.images, seed=seed
            )
            pretrain.train(
                model,
                torch.from_numpy(pictures),
                nouns,
                [*painting.things_of(base.places), *base.places],
                tokenize=backbone.tokenizer(params.context_length),
                seed=seed,
                trunk_steps=params.trunk_steps,
                pair_steps=params.pair_steps,
                log=log,
            )
        backbone.save(MODELS / name, model, config, preprocess)
    weights = sum(p.numel() for p in model.parameters())
    print(f"model: {name}, {weights / 1e6:.1f}M weights ({params.source}) -> {MODELS / name}")


if __name__ == "__main__":
    stage(main)
