"""Score every window of every image with all models, in one pass of the visual tower."""

from pathlib import Path

from clipworks.clip import backbone
from clipworks.clip.features import CaptionFeatures
from clipworks.kit import runtime, tables
from clipworks.kit.checkpoint import clear, scratch_folder
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import run
from clipworks.kit.params import MODELS, Base, load
from clipworks.tuning.captions import CaptionTable
from clipworks.windows import shards, tower
from clipworks.windows.params import Infer
from clipworks.windows.scorer import assemble
from clipworks.windows.visual_pass import Pass

BACKBONE = Path("models/backbone")
WORLD = Path("data/world")
CAPTIONS = Path("data/encode_captions")
COMBINATIONS = Path("data/compose/combinations.json")
TRAINED = Path("models/train")
OUT = Path("data/infer")


def main() -> None:
    """Write shards of per-window logits, similarities and boxes, and which images were bad."""
    base, params = load("base", Base), load("infer", Infer)
    names = read_classes(Path(base.classes))
    device = runtime.pick_device(base.device)
    clip = backbone.load(BACKBONE)
    files = {name: TRAINED / name / "prompts.safetensors" for name in MODELS}
    models = assemble(clip, names, [tuple(g) for g in tables.read_json(COMBINATIONS)], files)
    texts = CaptionTable(CAPTIONS / "captions.parquet", names).generated_texts()
    bank = CaptionFeatures(CAPTIONS).pooled(texts)
    work = Pass(clip, models, bank, tower.Options.of(params), device)
    weights = BACKBONE / backbone.WEIGHTS
    inputs = [*CAPTIONS.iterdir(), weights, COMBINATIONS, *files.values()]
    # The share of bad images is judged at the end: to allow more must not score them all again.
    settings = params.model_dump(exclude={"max_bad_share"})
    bad, total, scratches, size = {}, 0, [], params.images_per_shard
    with runtime.measured("infer", device) as facts:
        for split in ("validation", "test"):
            listed = tables.read_json(WORLD / f"{split}.json")
            about = {**settings, "images": shards.fingerprint(listed)}
            scratches.append(scratch_folder(f"infer/{split}", about, inputs))
            kept = shards.features_folder(work, split, listed, settings, weights)
            bad[split] = shards.score_split(
                work, listed, OUT / split, scratch=scratches[-1], features=kept, per_shard=size
            )
            total += len(listed["images"])
        facts["images"] = total
    tables.write_json(OUT / "bad_images.json", bad)
    shards.check_share(bad, total, params.max_bad_share, OUT / "bad_images.json")
    clear(*scratches)
    print(f"infer: {total:,} images, {sum(map(len, bad.values()))} bad -> {OUT}")


if __name__ == "__main__":
    run(main)
