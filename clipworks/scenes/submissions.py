"""Submission files: written, refused by name, and compared with one another."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clipworks.kit.errors import InputError
from clipworks.kit.files import read_text
from clipworks.kit.shapes import Float, Int

HEADER = ["id_idx", "label"]
# Iglewicz and Hoaglin's cut for the modified z-score, towards little agreement.
OUTLIER_BELOW = -3.5
MAD_TO_SIGMA = 1.4826  # of a normal distribution


def write(path: Path, labels: Sequence[int]) -> None:
    """`id_idx,label`, ids from 0 in order, LF.

    Raises:
        InputError: a picture has no label.
    """
    if missing := [i for i, label in enumerate(labels) if label < 0]:
        raise InputError(
            f"{path}: {len(missing)} of {len(labels)} pictures have no label (ids {missing[:8]}): "
            "ensemble.drop left nothing of them; lower it, or 0 for none"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({HEADER[0]: range(len(labels)), HEADER[1]: labels})
    frame.to_csv(path, index=False, lineterminator="\n")


def read(
    path: Path, *, rows: int | None = None, classes: int | None = None, what: str = "submission"
) -> np.ndarray:
    """Labels of a submission, of shape (image,).

    Args:
        rows: how many there must be, None for any number.
        classes: labels must be below this, None for any.
        what: a word for the file, for messages.

    Raises:
        InputError: another header, ids that are not 0, 1, 2 …, a label that is no class, another
            number of rows.
    """
    if not path.is_file():
        raise InputError(f"{what} {path} does not exist, or is no file")
    try:
        # As text, whatever the name: pandas would unpack what is called .gz.
        frame = pd.read_csv(io.StringIO(read_text(path)), dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        raise InputError(
            f"{what} {path} is empty; its header must be {','.join(HEADER)!r}"
        ) from None
    except pd.errors.ParserError as error:
        raise InputError(f"{what} {path} is no csv file: {error}") from None
    if not isinstance(frame.index, pd.RangeIndex):  # what pandas makes of further fields
        raise InputError(
            f"{what} {path}: lines have more fields than the header's {len(frame.columns)}"
        )
    if list(frame.columns) != HEADER:
        raise InputError(
            f"{what} {path}: header {','.join(frame.columns)!r}; it must be {','.join(HEADER)!r}"
        )
    for line, (given, label) in enumerate(zip(*(frame[c] for c in HEADER), strict=True)):
        if given != str(line):
            raise InputError(
                f"{what} {path}, line {line + 2}: id {given!r} where {line} belongs; ids run "
                "from 0 without gaps, in order"
            )
        if not (label.isascii() and label.isdigit() and len(label) < 10) or (
            classes is not None and int(label) >= classes
        ):
            allowed = "a whole number from 0" + (f" to {classes - 1}" if classes else "")
            raise InputError(
                f"{what} {path}, line {line + 2}: label {label!r}; it must be {allowed}"
            )
    if rows is not None and len(frame) != rows:
        raise InputError(f"{what} {path} has {len(frame)} rows where {rows} are expected")
    if not len(frame):
        raise InputError(f"{what} {path} has no rows")
    return frame[HEADER[1]].to_numpy().astype(np.int64)


def known_labels(path: Path) -> Int[np.ndarray, " image"] | None:
    """Labels of a split, or None where the file has its header alone: none are known."""
    header = ",".join(HEADER)
    return None if read_text(path).strip() == header else read(path)


def read_all(paths: Sequence[Path], *, classes: int | None = None) -> Int[np.ndarray, "run image"]:
    """Several submissions of one length.

    Raises:
        InputError: fewer than two, a fault in one, or another length than the first.
    """
    if len(paths) < 2:
        raise InputError(f"{len(paths)} submission given; at least two can be compared")
    labels = [read(path, classes=classes) for path in paths]
    for path, found in zip(paths, labels, strict=True):
        if len(found) != len(labels[0]):
            raise InputError(
                f"submission {path} has {len(found)} rows, {paths[0]} has {len(labels[0])}; only "
                "submissions for the same pictures can be compared"
            )
    return np.stack(labels)


def agreement(runs: Int[np.ndarray, "run image"]) -> Int[np.ndarray, "run run"]:
    """On how many pictures each pair gives the same label."""
    return np.stack([(runs == run).sum(axis=1) for run in runs])


def vote(runs: Int[np.ndarray, "run image"]) -> tuple[Int[np.ndarray, " image"], np.ndarray]:
    """The most frequent label of each picture (ties to the smallest), and where there was a tie."""
    given = np.unique(runs)  # a label may be mistyped, and large
    votes = (runs[:, :, None] == given).sum(axis=0)  # (image, class)
    tied = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return given[votes.argmax(axis=1)], tied


def duplicates(runs: Int[np.ndarray, "run image"]) -> list[list[int]]:
    """Groups of runs with equal labels, by their first run."""
    same: dict[bytes, list[int]] = {}
    for number, run in enumerate(runs):
        same.setdefault(run.tobytes(), []).append(number)
    return [group for group in same.values() if len(group) > 1]


@dataclass(frozen=True)
class Outliers:
    """How far each run stands from the others in its agreement with the vote."""

    share: Float[np.ndarray, " run"]  # of pictures on which it agrees with the vote
    z: Float[np.ndarray, " run"]
    outlier: np.ndarray  # (run,), bool


def outliers(runs: Int[np.ndarray, "run image"]) -> Outliers:
    """Modified z-score: (share - median) / max(1.4826 · median absolute deviation, 1 / pictures).

    The floor keeps runs that differ in single pictures from counting as far apart.
    """
    share = (runs == vote(runs)[0]).mean(axis=1)
    middle = np.median(share)
    spread = max(MAD_TO_SIGMA * float(np.median(np.abs(share - middle))), 1 / runs.shape[1])
    z = (share - middle) / spread
    return Outliers(share, z, z < OUTLIER_BELOW)
