"""What each ingredient of the retrieval solution is worth over streets, CLIPs and pictures of three seeds.

    python -m bench.retrieval_seeds         (about 4 minutes a seed on 2 quiet cores)

Every seed is a project of its own in scratch/retrieval/. Finished seeds are not run again. Writes
solutions/retrieval/metrics/seeds.json and the table in its README: mean and spread (standard
deviation) of mAP@10 on test, and whether a row's distance from the row it is held against is more
than noise (Wilcoxon over the queries of all seeds together). Test relevance is read to report;
nothing is chosen.
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
from clipworks.retrieval.table import signed_rank

SOLUTION = HERE / "solutions/retrieval"
PLACE = HERE / "scratch/retrieval"
NOISE = 0.05  # p above which a difference is called noise


def line(row: str, boards: list[dict[str, Any]], ap: pd.DataFrame) -> dict[str, Any]:
    """Mean and spread of a row, and of its distance from the row it is held against."""
    values = [board[row]["mAP@10"] for board in boards]
    about, other = boards[0][row], boards[0][row]["against"]
    mean = lambda key: round(spreads.mean(board[row][key] for board in boards), 1)  # noqa: E731
    found: dict[str, Any] = {
        "what it is": about["what"],
        "mAP": round(spreads.mean(values), 1),
        "spread": round(spreads.stdev(values), 1) if len(values) > 1 else 0.0,
        "values": values,
        "cars": mean("mAP@10_cars"),
        "persons": mean("mAP@10_persons"),
        "script": mean("mAP@10_script"),
        "validation": mean("validation"),
        "against": other,
    }
    if other:
        gains = [board[row]["mAP@10"] - board[other]["mAP@10"] for board in boards]
        p = signed_rank(ap[row].to_numpy(), ap[other].to_numpy())
        verdict = "noise" if p > NOISE else "real"
        found |= {"gain": round(spreads.mean(gains), 1), "p": round(p, 4), "verdict": verdict}
    return found


def markdown(found: dict[str, dict[str, Any]]) -> str:
    """The table of the solution's README."""
    frame = pd.DataFrame.from_dict(found, orient="index")
    shown = pd.DataFrame(
        {
            "what it is": frame["what it is"],
            "mAP@10": [f"{m:.1f} ± {s:.1f}" for m, s in zip(frame["mAP"], frame["spread"], strict=True)],
            "cars": frame["cars"],
            "persons": frame["persons"],
            "by their script": frame["script"],
            "validation": frame["validation"],
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
    ap = pd.concat([pd.read_parquet(f / "data/evaluate/ap.parquet") for f in folders])
    found = {row: line(row, boards, ap) for row in boards[0]}
    tables.write_json(SOLUTION / "metrics/seeds.json", found)
    text = markdown(found)
    readme = SOLUTION / "README.md"
    if readme.exists():
        readme.write_text(leaderboard.put(readme, text), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
