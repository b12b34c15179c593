"""The leaderboard: the only stage that reads test labels."""

from pathlib import Path

import numpy as np
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
    files, labels = coco.read_labels(WORLD / "annotations/test.json", names)
    images = tables.read_json(ENSEMBLE / "test_images.json")
    rows = load_file(str(ENSEMBLE / "test.safetensors"))
    order = [files.index(name) for name in images]
    truth = labels[order]
    board, ap = {}, {}
    for name, values in rows.items():
        k = params.decision_k if params.decision == "top_k" else None
        decided = metrics.decide(values, top_k=k, threshold=params.decision_threshold)
        board[name] = vars(metrics.summarise(truth, values, decided))
        ap[name] = metrics.average_precision(truth, values)
    tables.write_json(LEADERBOARD, board)
    header = ("class", "row", "AP")
    lines = [
        (c, row, round(100 * float(v[i]), 2))
        for row, v in ap.items()
        for i, c in enumerate(names)
        if not np.isnan(v[i])
    ]
    tables.write_tsv(
        OUT / "class_ap.tsv", header, [line for line in lines if line[1] == "ensemble"]
    )
    tables.write_tsv(OUT / "class_ap_all.tsv", header, lines)
    tables.write_tsv(
        OUT / "leaderboard.tsv", ("row", "mAP"), [(row, board[row]["mAP"]) for row in board]
    )
    folder = Path(tables.read_json(WORLD / "test.json")["folder"])
    routes = tables.read_json(ENSEMBLE / "routes.json")
    pictures.page(
        OUT / "pictures",
        folder,
        images,
        names,
        truth,
        rows["ensemble"],
        INFER / "test",
        routes,
        count=params.pictures,
        max_pixels=10**9,
    )
    best = max(board, key=lambda row: board[row]["mAP"])
    print(
        f"evaluate: ensemble {board['ensemble']['mAP']} mAP on {len(images):,} images; best row {best} {board[best]['mAP']} -> {LEADERBOARD}"
    )


if __name__ == "__main__":
    run(main)
