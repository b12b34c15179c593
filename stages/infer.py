"""Score every window of every image with all models, in one pass of the visual tower."""

from pathlib import Path

import torch

from clipworks import backbone, hand, inference, runtime, scoring, tables
from clipworks.captions import CaptionTable
from clipworks.checkpoint import scratch_folder
from clipworks.classes import read_classes
from clipworks.cli import run
from clipworks.features import CaptionFeatures
from clipworks.params import load
from clipworks.params.base import Base
from clipworks.params.infer import Infer
from clipworks.prompts import load as load_prompts
from clipworks.scorer import Scorer

BACKBONE = Path("models/backbone")
WORLD = Path("data/world")
CAPTIONS = Path("data/encode_captions")
COMBINATIONS = Path("data/compose/combinations.json")
MODELS = Path("models/train")
OUT = Path("data/infer")
NAMES = ("base", "ema", "zema", "diff", "diffh", "difft")


def main() -> None:
    """Write shards of per-window logits, similarities and boxes, and which images were bad."""
    base, params = load("base", Base), load("infer", Infer)
    names = read_classes(Path(base.classes))
    device = runtime.pick_device(base.device)
    clip = backbone.load(BACKBONE)
    groups = [tuple(group) for group in tables.read_json(COMBINATIONS)]
    classes = {
        "hand": hand.one_template(clip, names),
        "hand80": hand.eighty_templates(clip, names),
        "compound": hand.compound(clip, names, groups),
    }
    scales = dict.fromkeys(classes, (scoring.GLOBAL_SCALE, scoring.SPATIAL_SCALE))
    files = {name: MODELS / name / "prompts.safetensors" for name in NAMES}
    for name, path in files.items():
        tuned = load_prompts(path, clip, names)
        with torch.inference_mode():
            classes[name] = tuned(clip.model)
        scales[name] = (float(tuned.global_scale), float(tuned.spatial_scale))
    table = CaptionTable(CAPTIONS / "captions.parquet", names)
    texts = sorted(
        set(table.text[table.select(("multi", "single", "challenge"), held_out=False)].tolist())
    )
    bank = CaptionFeatures(CAPTIONS).pooled(torch.tensor(texts).numpy())
    work = inference.Pass(clip, Scorer.of(classes, scales), bank, inference.options(params), device)
    inputs = [CAPTIONS / "captions.parquet", BACKBONE / backbone.WEIGHTS, *files.values()]
    bad: dict[str, dict[str, str]] = {}
    total = 0
    with runtime.measured("infer", device) as facts:
        for split in ("validation", "test"):
            listed = tables.read_json(WORLD / f"{split}.json")
            scratch = scratch_folder(f"infer/{split}", {**params.model_dump(), **listed}, inputs)
            bad[split] = inference.run_split(
                work,
                Path(listed["folder"]),
                listed["images"],
                OUT / split,
                scratch=scratch,
                images_per_shard=params.images_per_shard,
                label=f"infer {split}",
            )
            total += len(listed["images"])
        facts["images"] = total
    tables.write_json(OUT / "bad_images.json", bad)
    share = sum(map(len, bad.values())) / max(total, 1)
    print(f"infer: {total:,} images, {share:.2%} bad, {len(classes)} models at once -> {OUT}")
    if share > params.max_bad_share:
        raise ValueError(
            f"{share:.2%} of the images are bad, infer.max_bad_share allows {params.max_bad_share:.2%}; they are listed in {OUT / 'bad_images.json'}"
        )


if __name__ == "__main__":
    run(main)
