"""The leaderboard: the only stage that reads test labels."""

from pathlib import Path

from clipworks.kit import images, metrics, tables, tensors
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import run
from clipworks.kit.params import Base, load
from clipworks.report import leaderboard, pictures
from clipworks.report.params import Evaluate
from clipworks.windows import manifest
from clipworks.worlds import coco

WORLD = Path("data/world")
ENSEMBLE = Path("data/ensemble")
INFER = Path("data/infer")
LEADERBOARD = Path("metrics/leaderboard.json")
SUMMARY = Path("metrics/summary.json")
OUT = Path("data/evaluate")


def main() -> None:
    """Write mAP, CF1 and OF1 of every row, per-class AP as a plot, and the picture page."""
    base, params = load("base", Base), load("evaluate", Evaluate)
    names = read_classes(Path(base.classes))
    k = params.decision_k if params.decision == "top_k" else None
    board: dict[str, dict[str, float]] = {}
    for split in ("validation", "test"):
        files = tables.read_json(ENSEMBLE / f"{split}_images.json")
        truth = coco.labels_of(WORLD / f"annotations/{split}.json", names, files)
        metrics.check_labels(truth, split)
        place = ENSEMBLE / f"{split}.safetensors"
        rows = tensors.load(place, names, stage="ensemble", framework="np")
        ap = {row: metrics.average_precision(truth, values) for row, values in rows.items()}
        for row, values in rows.items():
            if split == "validation":
                board[row] = {"validation_mAP": metrics.mean_ap(ap[row])}
                continue
            decided = metrics.decide(values, top_k=k, threshold=params.decision_threshold)
            board[row] |= vars(metrics.summarise(truth, ap[row], decided))
    tables.write_json(LEADERBOARD, board)
    tables.write_json(SUMMARY, leaderboard.summary(board))
    tables.write_frame(OUT / "class_ap.tsv", leaderboard.by_class(names, ap["ensemble"]))
    tables.write_frame(OUT / "leaderboard.tsv", leaderboard.bars(board))
    place = ENSEMBLE / "test_windows.safetensors"
    windows = tensors.load(place, names, stage="ensemble", framework="np")
    folder = Path(tables.read_json(WORLD / "test.json")["folder"])
    chosen = files[: params.pictures]
    pixels = (images.read(folder / name) for name in chosen)
    boxes = (manifest.boxes_of(INFER / "crops/test", name) for name in chosen)
    views = pictures.views(rows, windows)
    objects = coco.objects_of(WORLD / "annotations/test.json", names, chosen)
    shown = map(pictures.Shown, chosen, pixels, truth, boxes, objects, views)
    pictures.page(OUT / "pictures", shown, names)
    best = max(board, key=lambda row: board[row]["mAP"])
    print(f"evaluate: best row {best} with {board[best]['mAP']} mAP on {len(files):,} images")


if __name__ == "__main__":
    run(main)
