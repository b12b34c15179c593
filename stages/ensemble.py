"""Predictions: each model's logits from its windows, and the ensemble's, class by class."""

from pathlib import Path

from clipworks.fusion import leaderboard, routing
from clipworks.fusion.params import Ensemble
from clipworks.fusion.rows import rows
from clipworks.kit import tables, tensors
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.params import MODELS, Base, load
from clipworks.kit.tensors import save_file
from clipworks.windows import manifest
from clipworks.windows.params import Infer

INFER = Path("data/infer")
TEST = Path("data/world/test.json")
MATRIX = Path("data/cooccurrence/matrix.safetensors")
TRAIN = Path("data/train")
OUT = Path("data/ensemble")
SPLITS = ("validation", "test")


def main() -> None:
    """Write every row of the leaderboard as logits, the routing, and the submission."""
    base, params = load("base", Base), load("ensemble", Ensemble)
    names = read_classes(Path(base.classes))
    ways = load("infer", Infer).windows  # not the folders that are there: these may be old
    wanted = [row for row in rows(MODELS) if row.windows in ways]
    there = [
        s for s in SPLITS if manifest.read(INFER / "crops" / s, names)["shards"] or s == "test"
    ]
    conditional = tensors.load(MATRIX, names, stage="cooccurrence")["conditional"]
    held_out = {m: routing.read_ap(TRAIN / m / "held_out.json", names, m) for m in MODELS}
    routes = routing.route(params, names, held_out)
    OUT.mkdir(parents=True, exist_ok=True)
    tables.write_json(OUT / "routes.json", routes)
    for split in there:
        board = leaderboard.score(INFER, split, wanted, params, routes, conditional)
        scored = {name: value.contiguous() for name, value in board.rows.items()}
        images, logits = board.images, scored["ensemble"]
        about = tensors.about(names)
        save_file(scored, str(OUT / f"{split}.safetensors"), metadata=about)
        save_file(board.windows, str(OUT / f"{split}_windows.safetensors"), metadata=about)
        tables.write_json(OUT / f"{split}_images.json", images)
        leaderboard.write_predictions(OUT / f"{split}.parquet", images, names, logits)
    made_of = {
        way: tables.read_json(INFER / way / manifest.MADE_OF, dict[str, str]) for way in ways
    }
    tables.write_json(OUT / manifest.MADE_OF, made_of)
    asked = tables.read_json(TEST, manifest.Listed)["images"]
    tables.write_json(OUT / "submission.json", leaderboard.submission(asked, images, logits))
    used = {model: sum(model in shares for shares in routes.values()) for model in MODELS}
    print(f"ensemble: {len(images):,} test images, classes by model {used} -> {OUT}")


if __name__ == "__main__":
    stage(main)
