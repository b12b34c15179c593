"""Score every window with all models, in one pass of the tower: `python -m stages.infer crops`."""

from pathlib import Path

from clipworks.clip import backbone
from clipworks.clip.features import CaptionFeatures
from clipworks.kit import runtime, tables
from clipworks.kit.checkpoint import clear, scratch_folder
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.params import MODELS, Base, load
from clipworks.tuning.captions import CaptionTable
from clipworks.windows import manifest, shards, tower
from clipworks.windows.params import Infer, way_named
from clipworks.windows.scorer import assemble
from clipworks.windows.visual_pass import Pass

BACKBONE = Path("models/backbone")
WORLD = Path("data/world")
CAPTIONS = Path("data/encode_captions")
COMBINATIONS = Path("data/compose/combinations.json")
TRAINED = Path("models/train")
OUT = Path("data/infer")


def main(name: str = "") -> None:
    """Write shards of per-window logits, similarities and boxes, and which images were bad."""
    way = way_named(name)
    base, params = load("base", Base), load("infer", Infer)
    names = read_classes(Path(base.classes))
    device = runtime.pick_device(base.device)
    clip = backbone.load(BACKBONE)
    files = {name: TRAINED / name / "prompts.safetensors" for name in MODELS}
    groups = tables.read_json(COMBINATIONS, list[list[str]])
    models = assemble(clip, names, [tuple(group) for group in groups], files, device)
    table = CaptionTable(CAPTIONS / "captions.parquet", names)
    bank = CaptionFeatures(CAPTIONS).pooled(table.generated_texts())
    work = Pass(clip, models, bank, tower.Options.of(params, way), device)
    own, out = backbone.files(BACKBONE), OUT / way
    inputs = [*CAPTIONS.iterdir(), *own, COMBINATIONS, *files.values()]
    settings = params.of(way)
    bad, total, states, size = {}, 0, [], params.images_per_shard
    with runtime.measured(f"infer_{way}", device) as facts:
        for split in ("validation", "test"):
            listed = tables.read_json(WORLD / f"{split}.json", manifest.Listed)
            about = {**settings, "images": shards.fingerprint(listed)}
            states.append(scratch_folder(f"infer/{way}/{split}", about, inputs))
            kept = shards.features_folder(work, f"{way}-{split}", listed, settings, own)
            bad[split] = shards.score_split(
                work, listed, out / split, scratch=states[-1], features=kept, per_shard=size
            )
            facts["images"] = total = total + len(listed["images"])
    manifest.write_made_of(out, [*own, *files.values()])
    shards.report_bad(bad, total, params.max_bad_share, out / "bad_images.json")
    clear(*states)
    print(f"infer: {total:,} images, {sum(map(len, bad.values()))} bad -> {out}")


if __name__ == "__main__":
    stage(main)
