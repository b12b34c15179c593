"""What each trick is worth over whole seeds: another world, backbone, captions and prompts each time.

    python -m bench.whole_seeds            (about 15 minutes a seed on 2 quiet cores)

Spreads over seeds of the prompts alone are too narrow: they share one world, one small CLIP and one
set of captions. Here every seed is a project of its own in scratch/seeds/, run by `dvc repro` with
the shared cache, then taken apart by bench.ablation. Finished seeds are not run again. Writes
metrics/seeds.json, metrics/seeds.tsv and the tables of docs/results.md. Test labels are read to report;
nothing is chosen.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from bench.seeded import set_seed
from clipworks.fusion.rows import rows
from clipworks.kit import tables
from clipworks.kit.params import MODELS

HERE = Path.cwd()
PLACE = Path("scratch/seeds")
# The ingredients of bench.ingredients as people call them.
WORTH = {
    "full ensemble": "full ensemble, the authors' recipe",
    "full without windows": "without windows",
    "full without similarity": "without the similarity weight",
    "full without variance": "without the variance weight",
    "full without blend": "without the caption blend",
    "full without tuned": "without tuning (a hand prompt instead)",
    "full without max_or_min": "without max-or-min (plain maximum)",
    "full without cooccurrence": "without co-occurrence",
    "full without local": "without the local branch",
    "full without specialists": "without specialists (one tuned model)",
    "full with standardise": "with each window standardised over the classes",
    "full with maps": "with windows read off maps",
}
# Rows off crops, and the same off maps.
WAYS = {
    "80 templates, standardised": (
        "zero_shot_80_windows_standardised",
        "maps_zero_shot_80_standardised",
    ),
    "average of six, standardised": ("average_standardised", "maps_average_standardised"),
    "ensemble": ("ensemble", "maps_ensemble"),
}


def call(folder: Path, *command: str) -> None:
    """Run a command in a project; its output goes to a log beside it."""
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=subprocess.STDOUT)


def project(seed: int) -> Path:
    """A copy of the tracked files with base.seed set, as a DVC project that shares the cache."""
    folder = HERE / PLACE / str(seed)
    if (folder / "params.yaml").exists():
        return folder
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if Path(name).is_file() and not name.startswith("solutions/") and name != "params.yaml":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, folder / name)
    call(folder, "git", "init", "-q")
    call(folder, "dvc", "cache", "dir", "--local", str(HERE / ".dvc/cache"))
    set_seed(
        Path("params.yaml"), folder / "params.yaml", seed
    )  # last: it marks the project as whole
    return folder


def one(seed: int) -> dict[str, dict[str, float]]:
    """Figures of a whole seed: the leaderboard's rows, and the ensemble taken apart."""
    folder = project(seed)
    done = folder / "taken_apart.json"
    if not done.exists():
        call(folder, "dvc", "repro")
        call(
            folder, sys.executable, "-m", "bench.ablation", "--seeds", "1", "--first", str(seed),
            "--ingredients-only", "--out", str(done.with_suffix("")),
        )  # fmt: skip
    board = tables.read_json(folder / "metrics/leaderboard.json")
    apart: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))["ensemble"]
    return {
        "test mAP": {row: line["mAP"] for row, line in board.items()},
        "validation mAP": {row: line["validation_mAP"] for row, line in board.items()},
        "taken apart": {name: line["mean"] for name, line in apart.items()},
    }


def spread(found: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation over seeds, and the values."""
    return {
        name: {
            "mean": round(statistics.mean(values), 1),
            "spread": round(statistics.stdev(values), 1) if len(values) > 1 else 0.0,
            "values": [round(value, 1) for value in values],
        }
        for name in found[0]
        for values in [[one[name] for one in found]]
    }


def about(line: dict[str, Any]) -> str:
    """Mean and spread, as the pages show them."""
    return f"{line['mean']:.1f} ± {line['spread']:.1f}"


def worth(content: dict[str, Any]) -> str:
    """The ensemble with one ingredient less or more, as Markdown."""
    lines = ["| | test mAP | by seed |", "|---|---:|---|"]
    for name, what in WORTH.items():
        line = content["taken apart"][name]
        values = ", ".join(f"{value:.1f}" for value in line["values"])
        lines.append(f"| {what} | {about(line)} | {values} |")
    return "\n".join(lines) + "\n"


def ways(content: dict[str, Any]) -> str:
    """Windows as crops against windows off maps, as Markdown."""
    lines = ["| | crops | maps | by seed |", "|---|---:|---:|---|"]
    for what, pair in WAYS.items():
        crops, maps = (content["test mAP"][row] for row in pair)
        pairs = zip(maps["values"], crops["values"], strict=True)
        gains = ", ".join(f"{round(a - b, 1) + 0.0:+.1f}" for a, b in pairs)
        lines.append(f"| {what} | {about(crops)} | {about(maps)} | {gains} |")
    return "\n".join(lines) + "\n"


def put(page: Path, table: str) -> None:
    """Replace the page's table of the same heading.

    Raises:
        ValueError: the page has none, or several.
    """
    heading = table.partition("\n")[0]
    text, many = re.subn(
        re.escape(heading) + r"\n(?:\|.*\n)*", lambda _: table, page.read_text(encoding="utf-8")
    )
    if many != 1:
        raise ValueError(f"{page} has {many} tables with the heading {heading}")
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Run the seeds and write what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    count = parser.parse_args().seeds
    found = []
    for seed in range(count):
        print(f"seed {seed}: see {PLACE / f'{seed}.log'}", flush=True)
        (HERE / PLACE / str(seed)).mkdir(parents=True, exist_ok=True)
        found.append(one(seed))
    content = {kind: spread([figures[kind] for figures in found]) for kind in found[0]}
    tables.write_json(Path("metrics/seeds.json"), {"seeds": count, **content})
    what = {row.name: row.what for row in rows(MODELS)}
    lines = [
        {
            "row": name,
            "what": what.get(name, ""),
            "test_mAP": line["mean"],
            "spread": line["spread"],
        }
        for name, line in content["test mAP"].items()
    ]
    tables.write_frame(Path("metrics/seeds.tsv"), pd.DataFrame(lines))
    for kind, values in content.items():
        frame = pd.DataFrame.from_dict(values, orient="index")
        print(f"\n{kind}, mean and spread over {count} whole seeds\n{frame.to_markdown()}")
    for table in (worth(content), ways(content)):
        put(Path("docs/results.md"), table)


if __name__ == "__main__":
    main()
