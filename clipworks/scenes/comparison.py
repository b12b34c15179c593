"""Several submissions beside each other: who agrees with whom, who repeats whom, who stands apart."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from clipworks.kit.errors import InputError
from clipworks.kit.places import make_folder
from clipworks.scenes import drawing, submissions

WRITTEN = {"agreement.csv", "agreement.png", "runs.csv", "vote.csv"}


def short_names(paths: Sequence[Path]) -> list[str]:
    """File names without their ending; with their folder where two would be alike."""
    stems = [path.stem for path in paths]
    return [
        path.with_suffix("").as_posix() if stems.count(path.stem) > 1 else path.stem
        for path in paths
    ]


def table(names: Sequence[str], runs: np.ndarray) -> pd.DataFrame:
    """One line a run: how far from the vote and from the last run, repeats and outliers."""
    found, same = submissions.outliers(runs), submissions.duplicates(runs)
    repeats = {run: names[group[0]] for group in same for run in group[1:]}
    return pd.DataFrame(
        {
            "run": names,
            "agrees with vote %": (100 * found.share).round(2),
            "z": found.z.round(1),
            "outlier": ["yes" if odd else "" for odd in found.outlier],
            "differs from last": (runs != runs[-1]).sum(axis=1),
            "repeats": [repeats.get(i, "") for i in range(len(names))],
        }
    )


def compare(paths: Sequence[Path], out: Path) -> tuple[pd.DataFrame, str]:
    """Write agreement.csv and .png, runs.csv and vote.csv (a submission); returns the runs' table
    and what a reader wants to know first.

    Raises:
        InputError: a file is no submission, or of another length than the first; or the folder holds
            files that no comparison wrote.
    """
    _check_place(out)
    if inside := [path for path in paths if path.resolve().parent == out.resolve()]:
        raise InputError(
            f"--out: {out} holds {inside[0].name}, which is compared; name another folder"
        )
    runs, names = submissions.read_all(paths), short_names(paths)
    agreement = submissions.agreement(runs)
    found = table(names, runs)
    make_folder(out)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:  # all four, or none
        draft = Path(folder)
        frame = pd.DataFrame(agreement, index=names, columns=names)
        frame.to_csv(draft / "agreement.csv", lineterminator="\n")
        found.to_csv(draft / "runs.csv", index=False, lineterminator="\n")
        submissions.write(draft / "vote.csv", submissions.vote(runs)[0].tolist())
        title = f"pictures of {runs.shape[1]:,} with the same label"
        drawing.matrix(draft / "agreement.png", agreement, names, names, title=title, form=".0f")
        for path in draft.iterdir():
            path.replace(out / path.name)
    return found, summary(found, runs)


def _check_place(out: Path) -> None:
    """An earlier comparison may be replaced, a submission of the same name not."""
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if there and there != WRITTEN:
        raise InputError(
            f"--out: {out} holds other files, such as {min(there)}; a comparison needs a folder of its own (it "
            f"writes {', '.join(sorted(WRITTEN))})"
        )


def summary(found: pd.DataFrame, runs: np.ndarray) -> str:
    """What a reader wants to know first."""
    _, tied = submissions.vote(runs)
    odd = found.loc[found["outlier"] == "yes", "run"].tolist()
    repeated = int((found["repeats"] != "").sum())
    return (
        f"{len(found)} runs of {runs.shape[1]:,} pictures; {repeated} repeat an earlier one; "
        f"outliers: {', '.join(odd) or 'none'}; the vote is tied on {int(tied.sum()):,} pictures"
    )
