"""What label-free rules for tags are worth: F1 of each against thresholds fitted on test labels.

    python -m bench.thresholds            (seconds, after `dvc repro`; --folder for another project)

Rules see logits of validation images without their labels, and decide on test. `labelled validation`
sees validation labels; the bound sees the test labels, and is no result. The last line is JSON: each
rule's macro- and micro-F1 as shares of the bound.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score
from sklearn.mixture import GaussianMixture

from clipworks.kit import metrics, tables, tensors
from clipworks.kit.classes import read_classes
from clipworks.tagging import thresholds
from clipworks.worlds import coco


def split(folder: Path, name: str, classes: list[str], row: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits of a split."""
    ensemble = folder / "data/ensemble"
    logits = tensors.load(
        ensemble / f"{name}.safetensors", classes, stage="ensemble", framework="np"
    )
    files = tables.read_json(ensemble / f"{name}_images.json")
    labels = coco.labels_of(folder / f"data/world/annotations/{name}.json", classes, files)
    assert labels is not None, "the miniature world is labelled"
    return labels, logits[row]


def mixture(logits: np.ndarray) -> np.ndarray:
    """Where each class's logits are as likely of the higher of two Gaussians."""
    found = []
    for one in logits.T[:, :, None]:
        start = [[np.median(one)], [np.quantile(one, 0.97)]]
        model = GaussianMixture(2, means_init=start, random_state=0).fit(one)
        high = model.means_.ravel().argmax()
        grid = np.linspace(np.median(one), one.max(), 400)[:, None]
        above = model.predict_proba(grid)[:, high] > 0.5
        found.append(float(grid[above.argmax() if above.any() else -1, 0]))
    return np.array(found)


def rules(classes: list[str], folder: Path) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Thresholds from unlabelled logits."""
    expected = captions_say(folder, classes)
    deviation = lambda z: np.median(z, 0) - np.quantile(z, 0.1587, axis=0)  # noqa: E731
    return {
        f"one threshold, {expected:.1f} tags an image (as captions have)": lambda z: np.full(
            z.shape[1], thresholds.one_for_all(z, expected)
        ),
        "two Gaussians a class": mixture,
        "2.5 deviations over the median": lambda z: np.median(z, 0) + 2.5 * deviation(z),
        f"range, {expected:.1f} tags an image": lambda z: thresholds.by_range(
            z, tags_per_image=expected
        ),
        "range (ships)": thresholds.by_range,
    }


def captions_say(folder: Path, classes: list[str]) -> float:
    """Labels a sentence of several classes has: what a chat model thinks an image shows."""
    rows = tables.rows(
        folder / "data/filter/captions.parquet", ["labels", "source"], class_names=classes
    )
    return float(np.mean([len(row["labels"]) for row in rows if row["source"] == "multi"]))


def f1(labels: np.ndarray, decided: np.ndarray) -> tuple[float, float]:
    """Macro- and micro-F1 in percent."""
    macro, micro = (
        100 * f1_score(labels, decided, average=how, zero_division=0.0)
        for how in ("macro", "micro")
    )
    return float(macro), float(micro)


def measure(folder: Path, row: str) -> pd.DataFrame:
    """All rules for a row of the leaderboard."""
    classes = read_classes(folder / "data/classes/miniature.txt")
    known, seen = split(folder, "validation", classes, row)
    labels, logits = split(folder, "test", classes, row)
    found: dict[str, Any] = {"three highest": f1(labels, metrics.decide(logits, top_k=3))}
    for name, rule in rules(classes, folder).items():
        found[name] = f1(labels, logits > rule(seen))
    found["range, of the test images themselves"] = f1(labels, logits > thresholds.by_range(logits))
    found["labelled validation"] = f1(labels, logits >= thresholds.by_labels(known, seen))
    found["bound: fitted on test labels"] = f1(
        labels, logits >= thresholds.by_labels(labels, logits)
    )
    frame = pd.DataFrame(found, index=["macro-F1", "micro-F1"]).T
    bound: Any = frame.loc["bound: fitted on test labels"]
    return frame.assign(
        **{f"of bound ({name})": frame[name] / bound[name] for name in frame.columns}
    )


def main() -> None:
    """Print the table and its shares of the bound."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--row", default="recommended")
    chosen = parser.parse_args()
    frame = measure(chosen.folder, chosen.row)
    print(frame.round(3).to_markdown())
    print(json.dumps(frame.filter(like="of bound").round(3).T.to_dict()))


if __name__ == "__main__":
    main()
