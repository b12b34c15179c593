"""The leaderboard for people: a table, in the README between two marks, kept fresh by a check."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clipworks.kit import metrics
from clipworks.kit.errors import InputError
from clipworks.kit.files import read_text, read_yaml

MARKS = ("<!-- leaderboard -->\n", "<!-- /leaderboard -->")
NOTE = "<!-- figures of the CLIP {} made by {} -->"
# What people compare between experiments: few enough for a line of `dvc exp show`.
COMPARED = ("zero_shot", "ensemble", "maps_zero_shot_80_recommended", "recommended")
COLUMNS = {"mAP": "mAP", "CF1": "CF1", "OF1": "OF1", "validation_mAP": "validation mAP"}


def table(board: Mapping[str, Mapping[str, float]], meaning: Mapping[str, str]) -> pd.DataFrame:
    """One line a row, in the order of `meaning`; rows that it does not name follow by name.

    Args:
        board: figures in percent by row, as metrics/leaderboard.json holds them.
        meaning: what each row is.
    """
    if not board:
        raise InputError(
            "the leaderboard is empty: the test images have no labels, so nothing can be measured; their "
            "tags are in data/evaluate/pictures/index.html and data/ensemble"
        )
    order = [row for row in meaning if row in board] + sorted(board.keys() - meaning.keys())
    found = pd.DataFrame.from_dict(dict(board), orient="index").loc[order]
    found = found[[name for name in COLUMNS if name in found]]  # no validation split, no column
    found = found.rename(columns=COLUMNS)
    found.insert(0, "what it is", [meaning.get(row, "") for row in order])
    return found.rename_axis("row")


def summary(board: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Test mAP, CF1 and validation mAP of the rows that experiments are compared by."""
    return {
        f"{row}_{key}": board[row][key]
        for row in COMPARED
        for key in ("mAP", "CF1", "validation_mAP")
        if row in board and key in board[row]
    }


def measure(
    rows: Mapping[str, Mapping[str, np.ndarray]],
    truth: Mapping[str, np.ndarray | None],
    decide: Callable[[np.ndarray], np.ndarray],
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Figures of every row, and its AP by class on the test split; nothing where that has no labels.

    Args:
        rows: logits of shape (image, class), by split and row.
        truth: labels, of the same shape, by split; None where nothing is known.
        decide: yes/no decisions from logits.
    """
    board: dict[str, dict[str, float]] = {}
    ap: dict[str, np.ndarray] = {}
    labels = truth["test"]
    if labels is None:
        return board, ap
    for row, logits in rows["test"].items():
        ap[row] = metrics.average_precision(labels, logits)
        board[row] = vars(metrics.summarise(labels, ap[row], decide(logits)))
        known = truth.get("validation")
        if known is not None:
            found = metrics.average_precision(known, rows["validation"][row])
            board[row] = {"validation_mAP": metrics.mean_ap(found), **board[row]}
    return board, ap


def told(board: Mapping[str, Mapping[str, float]]) -> str:
    """The outcome in a line."""
    if not board:
        return "the test images have no labels, so no mAP, CF1 or OF1 can be said"
    best = max(board, key=lambda row: board[row]["mAP"])
    return f"best row {best} with {board[best]['mAP']} mAP"


def bars(board: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Test mAP by row, for a plot, in the order of the table."""
    return pd.DataFrame({"row": list(board), "mAP": [line["mAP"] for line in board.values()]})


def by_class(class_names: Sequence[str], ap: np.ndarray | None) -> pd.DataFrame:
    """AP in percent of every class that some image shows, best first; no line where nothing is known."""
    if ap is None:
        return pd.DataFrame({"class": [], "AP": []})
    found = pd.DataFrame({"class": class_names, "AP": (100 * ap).round(2)}).dropna()
    return found.sort_values("AP", ascending=False, kind="stable")


def markdown(found: pd.DataFrame) -> str:
    """The table as Markdown."""
    shown = found.rename(index=lambda row: f"`{row}`")
    return shown.to_markdown(floatfmt=".1f") + "\n"


def clip_of(lock: Path) -> tuple[str, str]:
    """The CLIP that a run's figures are of, and how it was made (code and params), by what DVC recorded;
    empty before a run."""
    stage = (read_yaml(lock) if lock.exists() else {}).get("stages", {}).get("backbone", {})
    made = {out["path"]: out["md5"] for out in stage.get("outs", [])}
    how = json.dumps([stage.get("deps"), stage.get("params")], sort_keys=True)
    return made.get("models/backbone", "")[:8], hashlib.sha256(how.encode()).hexdigest()[:8]


def noted(text: str, lock: Path) -> str:
    """A table with a note, for us, of which CLIP its figures are."""
    return f"{text}{NOTE.format(*clip_of(lock))}\n"


def is_of_another_clip(page: Path, lock: Path) -> bool:
    """Whether a page has the figures of another CLIP than the last run here, made in the same way: another
    processor pretrains another one, and both are right."""
    found = re.search(NOTE.format(r"(\w*)", r"(\w*)"), read_text(page))
    clip, how = clip_of(lock)
    return found is not None and found[1] != clip and found[2] == how


def put(path: Path, text: str) -> str:
    """A file's text with the table between its marks.

    Raises:
        InputError: the file cannot be read, or has no marks.
    """
    content = read_text(path)
    pattern = re.compile(re.escape(MARKS[0]) + r".*?" + re.escape(MARKS[1]), re.DOTALL)
    if not pattern.search(content):
        raise InputError(f"{path}: no {MARKS[0].strip()} … {MARKS[1]} to put the table in")
    return pattern.sub(lambda _: MARKS[0] + text + MARKS[1], content)
