"""What the rows of a sibling solution are worth over worlds, CLIPs and pictures of several seeds.

Every seed is a project of its own in scratch/NAME/; finished ones are not run again. Writes
solutions/NAME/metrics/seeds.json and the table in its README: mean and spread (standard deviation) of
a figure on test, and whether a row's distance from the row it is held against is more than noise (a
paired test over the items of all seeds together). Test labels are read to report; nothing is chosen.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clipworks.kit import tables
from clipworks.report import leaderboard

HERE = Path.cwd()
NOISE = 0.05  # p above which a difference is called noise


@dataclass(frozen=True)
class Table:
    """What a solution's table over seeds shows."""

    name: str  # its folder in solutions/
    figure: str  # a key of metrics/table.json
    paired: str  # a file with a column of figures by row, a line for each item
    test: Callable[[np.ndarray, np.ndarray], float]  # p of two such columns
    more: Mapping[str, str] = field(default_factory=dict)  # further columns: keys of table.json

    @property
    def solution(self) -> Path:
        """The solution's folder."""
        return HERE / "solutions" / self.name

    def line(self, row: str, boards: list[dict[str, Any]], paired: pd.DataFrame) -> dict[str, Any]:
        """Mean and spread of a row, and of its distance from the row it is held against."""
        values = [board[row][self.figure] for board in boards]
        about, other = boards[0][row], boards[0][row]["against"]
        found: dict[str, Any] = {
            "what it is": about["what"],
            self.figure: round(statistics.mean(values), 1),
            "spread": round(statistics.stdev(values), 1) if len(values) > 1 else 0.0,
            "values": values,
            "against": other,
        }
        for title, key in self.more.items():
            found[title] = round(statistics.mean(board[row][key] for board in boards), 1)
        if other:
            gains = [board[row][self.figure] - board[other][self.figure] for board in boards]
            p = self.test(paired[row].to_numpy(), paired[other].to_numpy())
            verdict = "noise" if p > NOISE else "real"
            found |= {
                "gain": round(statistics.mean(gains), 1),
                "p": round(p, 4),
                "verdict": verdict,
            }
        return found

    def markdown(self, found: dict[str, dict[str, Any]]) -> str:
        """The table of the solution's README."""
        frame = pd.DataFrame.from_dict(found, orient="index")
        figures = zip(frame[self.figure], frame["spread"], strict=True)
        shown = pd.DataFrame(
            {
                "what it is": frame["what it is"],
                self.figure: [f"{mean:.1f} ± {spread:.1f}" for mean, spread in figures],
                **{title: frame[title] for title in self.more},
                "held against": frame["against"],
                "gain": ["" if np.isnan(gain) else f"{gain:+.1f}" for gain in frame["gain"]],
                "p": ["" if np.isnan(p) else f"{p:.3f}" for p in frame["p"]],
                "verdict": frame["verdict"].fillna(""),
            }
        )
        shown.index = pd.Index([f"`{row}`" for row in shown.index], name="row")
        return shown.to_markdown(disable_numparse=True) + "\n"

    def make(self) -> None:
        """Run the seeds that the command line asks for, write what they show."""
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--seeds", type=int, default=3)
        count = parser.parse_args().seeds
        place = HERE / "scratch" / self.name
        place.mkdir(parents=True, exist_ok=True)
        folders = [project(self.solution, place, seed) for seed in range(count)]
        boards = [
            json.loads((f / "metrics/table.json").read_text(encoding="utf-8")) for f in folders
        ]
        paired = pd.concat([pd.read_parquet(f / self.paired) for f in folders])
        found = {row: self.line(row, boards, paired) for row in boards[0]}
        tables.write_json(self.solution / "metrics/seeds.json", found)
        text, readme = self.markdown(found), self.solution / "README.md"
        readme.write_text(leaderboard.put(readme, text), encoding="utf-8")
        print(text)


def project(solution: Path, place: Path, seed: int) -> Path:
    """A copy of a solution with base.seed set, run to the end; a finished one is not run again."""
    folder = place / str(seed)
    if (folder / "metrics/table.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=solution, capture_output=True, check=True
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        generated = name.startswith((".dvc/", "metrics/"))
        if not (solution / name).is_symlink() and not generated:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(solution / name, folder / name)
    (folder / "clipworks").symlink_to(HERE / "clipworks")
    set_seed(folder / "params.yaml", folder / "params.yaml", seed)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "true"}
    with (place / f"{seed}.log").open("w") as log:
        for command in (["dvc", "init", "--no-scm", "-q"], ["dvc", "repro"]):
            subprocess.run(command, cwd=folder, env=environment, check=True, stdout=log, stderr=log)
    return folder


def set_seed(source: Path, target: Path, seed: int) -> None:
    """Write a params.yaml with another base.seed and all else as it is; one line changes.

    Raises:
        ValueError: there is no such line.
    """
    text = source.read_text(encoding="utf-8")
    text, many = re.subn(
        r"(?m)^(base:.*\n(?:  .*\n)*?  seed: )\d+$", rf"\g<1>{seed}", text, count=1
    )
    if many != 1:
        raise ValueError(f"{source} has no line '  seed: NUMBER' in its section base")
    target.write_text(text, encoding="utf-8")
