"""The CLIP: pretrain the miniature one, or fetch published weights, in one form on disk."""

from pathlib import Path

from clipworks.clip import backbone, pretrained, text, visual
from clipworks.kit import runtime, tables
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.files import NONE
from clipworks.kit.params import Base, load
from clipworks.miniature import pretrain
from clipworks.miniature.params import Backbone
from clipworks.miniature.scene import check_glyphs

OUT = Path("models/backbone")
LOG = Path("data/backbone/loss.tsv")


def main() -> None:
    """Write weights and configuration as open_clip reads them from a local folder."""
    base, params = load("base", Base), load("backbone", Backbone)
    with runtime.measured("backbone"):
        if params.source == "pretrained":
            file = None if Path(params.checkpoint) == NONE else Path(params.checkpoint)
            model, config, preprocess = pretrained.load(
                params.model, params.pretrained, file, params.activation
            )
            text.check_causal(model, params.model)  # now, not after hours of captions
            visual.check(model.visual, params.model)
            tables.write_tsv(LOG, ("step", "phase", "loss"), [])
        else:
            names = read_classes(Path(base.classes))
            check_glyphs(names, drawn=["backbone"])
            config = pretrain.config(params)
            preprocess = pretrain.preprocess(params)
            model = backbone.new(config, seed=base.seed)
            images, shown = pretrain.pairs(
                params.scene, names, count=params.images, seed=base.seed, workers=2
            )
            pretrain.train(
                model,
                images,
                shown,
                names,
                tokenize=backbone.tokenizer(params.context_length),
                seed=base.seed,
                trunk_steps=params.trunk_steps,
                pair_steps=params.pair_steps,
                log=LOG,
            )
        backbone.save(OUT, model, config, preprocess)
    weights = sum(p.numel() for p in model.parameters())
    print(f"backbone: {weights / 1e6:.1f}M weights ({params.source}) -> {OUT}")


if __name__ == "__main__":
    stage(main)
