"""The leaderboard for people: a table, in the README between two marks, kept fresh by a check."""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from clipworks.kit.errors import InputError

MARKS = ("<!-- leaderboard -->\n", "<!-- /leaderboard -->")
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
