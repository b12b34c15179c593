"""The leaderboard: the only stage that uses test labels."""

from itertools import repeat
from pathlib import Path

from clipworks.kit import metrics, tables, tensors
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.params import Base, load
from clipworks.report import leaderboard, pictures
from clipworks.report.params import Evaluate
from clipworks.tagging import quality, thresholds
from clipworks.windows import manifest
from clipworks.worlds import coco

DATA, METRICS, SPLITS = Path("data"), Path("metrics"), ("validation", "test")
WORLD, ENSEMBLE, OUT = DATA / "world", DATA / "ensemble", DATA / "evaluate"


def main() -> None:
    """Write mAP, CF1 and OF1 of every row, per-class AP, how good tags are, and the picture page."""
    base, params = load("base", Base), load("evaluate", Evaluate)
    names = read_classes(Path(base.classes))
    there = [s for s in SPLITS if s == "test" or (ENSEMBLE / f"{s}.safetensors").exists()]
    rows, truth = {}, {}
    for split in there:
        files = tables.read_json(ENSEMBLE / f"{split}_images.json", list[str])
        place = ENSEMBLE / f"{split}.safetensors"
        rows[split] = tensors.load(place, names, stage="ensemble", framework="np")
        truth[split] = coco.labels_of(WORLD / f"annotations/{split}.json", names, files)
        metrics.check_labels(truth[split], split)
    board, ap = leaderboard.measure(rows, truth, params.decide)
    seen, known = rows.get("validation", rows["test"]), truth.get("validation")
    place = ENSEMBLE / "test_windows.safetensors"
    windows = tensors.load(place, names, stage="ensemble", framework="np")
    tags = {
        row: quality.of(truth["test"], rows["test"][row], seen=seen[row], known=known)
        for row in windows
        if truth["test"] is not None
    }
    tables.write_json(METRICS / "leaderboard.json", board)
    tables.write_json(METRICS / "summary.json", leaderboard.summary(board))
    tables.write_json(METRICS / "tags.json", tags)
    tables.write_frame(OUT / "class_ap.tsv", leaderboard.by_class(names, ap.get("ensemble")))
    tables.write_frame(OUT / "leaderboard.tsv", leaderboard.bars(board))
    folder = Path(tables.read_json(WORLD / "test.json", manifest.Listed)["folder"])
    chosen = files[: params.pictures]
    boxes = [manifest.boxes_of(DATA / "infer/crops/test", name) for name in chosen]
    pixels = map(pictures.read, (folder / name for name in chosen), boxes)
    cuts = {row: thresholds.by_images(seen[row]) for row in windows}
    views = pictures.views(rows["test"], windows, {row: cut for row, (cut, _) in cuts.items()})
    objects = coco.objects_of(WORLD / "annotations/test.json", names, chosen)
    labels = repeat(None) if truth["test"] is None else truth["test"]
    shown = map(pictures.Shown, chosen, pixels, labels, boxes, objects, views)
    pictures.page(OUT / "pictures", shown, names, rule=next(iter(cuts.values()))[1])
    print(f"evaluate: {leaderboard.told(board)}; {len(files):,} images, tags in {OUT}/pictures")


if __name__ == "__main__":
    stage(main)
