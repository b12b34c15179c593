"""The leaderboard for people: a table, in the README between two marks, kept fresh by a check."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clipworks.kit.errors import InputError

MARKS = ("<!-- leaderboard -->\n", "<!-- /leaderboard -->")
# What people compare between experiments: few enough for a line of `dvc exp show`.
COMPARED = ("zero_shot", "zero_shot_80_windows_standardised", "ensemble", "average_standardised")
COLUMNS = {"mAP": "mAP", "CF1": "CF1", "OF1": "OF1", "validation_mAP": "validation mAP"}


def table(board: Mapping[str, Mapping[str, float]], meaning: Mapping[str, str]) -> pd.DataFrame:
    """One line a row, in the order of `meaning`; rows that it does not name follow by name.

    Args:
        board: figures in percent by row, as metrics/leaderboard.json holds them.
        meaning: what each row is.
    """
    order = [row for row in meaning if row in board] + sorted(board.keys() - meaning.keys())
    found = pd.DataFrame.from_dict(dict(board), orient="index").loc[order, list(COLUMNS)]
    found = found.rename(columns=COLUMNS)
    found.insert(0, "what it is", [meaning.get(row, "") for row in order])
    return found.rename_axis("row")


def summary(board: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Test mAP, CF1 and validation mAP of the rows that experiments are compared by."""
    return {
        f"{row}_{key}": board[row][key]
        for row in COMPARED
        for key in ("mAP", "CF1", "validation_mAP")
        if row in board
    }


def bars(board: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Test mAP by row, for a plot, in the order of the table."""
    return pd.DataFrame({"row": list(board), "mAP": [line["mAP"] for line in board.values()]})


def by_class(class_names: Sequence[str], ap: np.ndarray) -> pd.DataFrame:
    """AP in percent of every class that some image shows, best first."""
    found = pd.DataFrame({"class": class_names, "AP": (100 * ap).round(2)}).dropna()
    return found.sort_values("AP", ascending=False, kind="stable")


def markdown(found: pd.DataFrame) -> str:
    """The table as Markdown."""
    shown = found.rename(index=lambda row: f"`{row}`")
    return shown.to_markdown(floatfmt=".1f") + "\n"


def put(path: Path, text: str) -> str:
    """A file's text with the table between its marks.

    Raises:
        InputError: the file has no marks.
    """
    content = path.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(MARKS[0]) + r".*?" + re.escape(MARKS[1]), re.DOTALL)
    if not pattern.search(content):
        raise InputError(f"{path}: no {MARKS[0].strip()} … {MARKS[1]} to put the table in")
    return pattern.sub(lambda _: MARKS[0] + text + MARKS[1], content)
