"""What each trick of the scene solution is worth over worlds, CLIPs and pictures of three seeds.

    python -m bench.scenes_seeds            (about 2 minutes a seed on 2 quiet cores)

Every seed is a project of its own in scratch/scenes/. Finished seeds are not run again. Writes
solutions/scenes/metrics/seeds.json and the table in its README: mean and spread (standard deviation)
of test accuracy, and whether a row's distance from the row it is held against is more than noise
(McNemar over the pictures of all seeds together). Test labels are read to report; nothing is chosen.
"""

import argparse
import json
import statistics as spreads
from typing import Any

import numpy as np
import pandas as pd

from bench.seeded import HERE, project
from clipworks.kit import tables
from clipworks.report import leaderboard
from clipworks.scenes import statistics

SOLUTION = HERE / "solutions/scenes"
PLACE = HERE / "scratch/scenes"
NOISE = 0.05  # p above which a difference is called noise


def line(row: str, boards: list[dict[str, Any]], right: pd.DataFrame) -> dict[str, Any]:
    """Mean and spread of a row, and of its distance from the row it is held against."""
    values = [board[row]["accuracy"] for board in boards]
    about, other = boards[0][row], boards[0][row]["against"]
    found: dict[str, Any] = {
        "what it is": about["what"],
        "accuracy": round(spreads.mean(values), 1),
        "spread": round(spreads.stdev(values), 1) if len(values) > 1 else 0.0,
        "values": values,
        "against": other,
    }
    if other:
        gains = [board[row]["accuracy"] - board[other]["accuracy"] for board in boards]
        p = statistics.mcnemar(right[row].to_numpy(), right[other].to_numpy())
        gain = round(spreads.mean(gains), 1)
        found |= {"gain": gain, "p": round(p, 4), "verdict": "noise" if p > NOISE else "real"}
    return found


def markdown(found: dict[str, dict[str, Any]]) -> str:
    """The table of the solution's README."""
    frame = pd.DataFrame.from_dict(found, orient="index").rename_axis("row")
    shown = pd.DataFrame(
        {
            "what it is": frame["what it is"],
            "accuracy": [f"{a:.1f} ± {s:.1f}" for a, s in zip(frame["accuracy"], frame["spread"], strict=True)],
            "held against": frame["against"],
            "gain": ["" if np.isnan(gain) else f"{gain:+.1f}" for gain in frame["gain"]],
            "p": ["" if np.isnan(p) else f"{p:.3f}" for p in frame["p"]],
            "verdict": frame["verdict"].fillna(""),
        }
    )  # fmt: skip
    shown.index = pd.Index([f"`{row}`" for row in shown.index], name="row")
    return shown.to_markdown(disable_numparse=True) + "\n"


def main() -> None:
    """Run the seeds, write what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    count = parser.parse_args().seeds
    PLACE.mkdir(parents=True, exist_ok=True)
    folders = [project(SOLUTION, PLACE, seed) for seed in range(count)]
    boards = [json.loads((f / "metrics/table.json").read_text(encoding="utf-8")) for f in folders]
    right = pd.concat([pd.read_parquet(f / "data/evaluate/right.parquet") for f in folders])
    found = {row: line(row, boards, right) for row in boards[0]}
    tables.write_json(SOLUTION / "metrics/seeds.json", found)
    text = markdown(found)
    readme = SOLUTION / "README.md"
    if readme.exists():
        readme.write_text(leaderboard.put(readme, text), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
