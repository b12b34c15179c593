"""The leaderboard: the only stage that reads test labels."""

from pathlib import Path

from safetensors.numpy import load_file

from clipworks import coco, metrics, pictures, tables
from clipworks.classes import read_classes
from clipworks.cli import run
from clipworks.params import load
from clipworks.params.base import Base
from clipworks.params.evaluate import Evaluate

WORLD = Path("data/world")
ENSEMBLE = Path("data/ensemble")
INFER = Path("data/infer")
LEADERBOARD = Path("metrics/leaderboard.json")
OUT = Path("data/evaluate")


def main() -> None:
    """Write mAP, CF1 and OF1 of every row, per-class AP as a plot, and the picture page."""
    base, params = load("base", Base), load("evaluate", Evaluate)
    names = read_classes(Path(base.classes))
    k = params.decision_k if params.decision == "top_k" else None
    board: dict[str, dict[str, float]] = {}
    for split in ("validation", "test"):
        images = tables.read_json(ENSEMBLE / f"{split}_images.json")
        truth = coco.labels_of(WORLD / f"annotations/{split}.json", names, images)
        rows = load_file(str(ENSEMBLE / f"{split}.safetensors"))
        ap = {row: metrics.average_precision(truth, values) for row, values in rows.items()}
        for row, values in rows.items():
            if split == "validation":
                board[row] = {"validation_mAP": metrics.mean_ap(ap[row])}
                continue
            decided = metrics.decide(values, top_k=k, threshold=params.decision_threshold)
            board[row] |= vars(metrics.summarise(truth, ap[row], decided))
    tables.write_json(LEADERBOARD, board)
    by_class = metrics.class_lines({"ensemble": ap["ensemble"]}, names)
    tables.write_tsv(OUT / "class_ap.tsv", ("class", "row", "AP"), by_class)
    bars = [(row, values["mAP"]) for row, values in board.items()]
    tables.write_tsv(OUT / "leaderboard.tsv", ("row", "mAP"), bars)
    shown = pictures.Shown(
        folder=Path(tables.read_json(WORLD / "test.json")["folder"]),
        files=images[: params.pictures],
        labels=truth,
        logits=rows["ensemble"],
        windows=load_file(str(ENSEMBLE / "test_windows.safetensors"))["windows"],
        boxes=INFER / "test",
    )
    pictures.page(OUT / "pictures", shown, names)
    best = max(board, key=lambda row: board[row]["mAP"])
    print(
        f"evaluate: ensemble {board['ensemble']['mAP']} mAP on {len(images):,} images; "
        f"best row {best} {board[best]['mAP']} -> {LEADERBOARD}"
    )


if __name__ == "__main__":
    run(main)
