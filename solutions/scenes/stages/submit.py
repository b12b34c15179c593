"""The submission: one label a picture, in natural order."""

from pathlib import Path

import numpy as np

from clipworks.kit import tables, tensors
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.scenes import folder, pooling, rows, submissions
from clipworks.scenes.params import Submit

TEST = Path("data/world/test.json")
ROWS = Path("data/ensemble/test.safetensors")
OUT = Path("data/submit/submission.csv")


def main() -> None:
    """Write `id_idx,label`, and read it back as a contest would."""
    params = load("submit", Submit)
    listed, found = tables.read_json(TEST, folder.Pictures), tensors.read(ROWS)
    rows.known(params.row, found, key="submit.row")
    labels = pooling.decide(found[params.row])
    submissions.write(OUT, labels.tolist())
    submissions.read(OUT, rows=len(listed["images"]), classes=len(listed["classes"]))
    counts = np.bincount(labels, minlength=len(listed["classes"]))
    shares = ", ".join(f"{n} {c}" for n, c in zip(listed["classes"], counts, strict=True))
    print(f"submit: {len(labels):,} labels of row {params.row} ({shares}) -> {OUT}")


if __name__ == "__main__":
    stage(main)
