"""The leaderboard as a Markdown table, in the README between two marks, kept fresh by a check."""

import argparse
import re
import sys
from pathlib import Path

from clipworks.models import MODELS
from clipworks.tables import read_json

LEADERBOARD = Path("metrics/leaderboard.json")
MARKS = ("<!-- leaderboard -->\n", "<!-- /leaderboard -->")

# What each row is, in the order of the table. Rows that are not listed follow in alphabetic order.
MEANING = {
    "zero_shot": "hand prompt, whole image",
    "zero_shot_80": "80 hand templates, whole image",
    "zero_shot_compound": "hand prompts with a class's usual company",
    "zero_shot_standardised": "hand prompt, each image standardised over classes",
    "zero_shot_80_standardised": "80 templates, each image standardised",
    "zero_shot_compound_standardised": "company, each image standardised",
    "zero_shot_80_patches": "80 templates on the patches of one pass",
    "zero_shot_80_patches_standardised": "patches, each image standardised",
    "zero_shot_80_windows": "80 templates with windows and caption blend, as the tuned models have them",
    "zero_shot_80_windows_standardised": "the same, each window standardised over classes",
    **{
        f"{model}_{kind}": f"{model} prompts, {'whole image' if kind == 'whole' else 'with windows'}"
        for model in MODELS
        for kind in ("whole", "windows")
    },
    "ensemble": "the authors' recipe: windows, weights, one model per class",
    "ensemble_standardised": "ensemble, each window standardised over classes",
    "average": "mean of all six models, with windows",
    "average_standardised": "the same, each window standardised over classes",
    "average_transductive": "mean of all six, each class standardised over all test images (transductive)",
}


def markdown(board: dict[str, dict[str, float]]) -> str:
    """The table; the transductive rows stand apart at its end."""
    order = [row for row in MEANING if row in board] + sorted(board.keys() - MEANING.keys())
    order.sort(key=lambda row: "transductive" in row)
    lines = [
        "| row | what it is | mAP | CF1 | OF1 | validation mAP |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in order:
        values = " | ".join(
            f"{board[row][key]:.1f}" for key in ("mAP", "CF1", "OF1", "validation_mAP")
        )
        lines.append(f"| `{row}` | {MEANING.get(row, '')} | {values} |")
    return "\n".join(lines) + "\n"


def put(text: str, table: str) -> str:
    """The text with the table between its marks."""
    pattern = re.compile(re.escape(MARKS[0]) + r".*?" + re.escape(MARKS[1]), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no {MARKS[0].strip()} … {MARKS[1]} to put the table in")
    return pattern.sub(lambda _: MARKS[0] + table + MARKS[1], text)


def main() -> None:
    """Print the table; with --write put it into a file; with --check fail where it is stale."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("board", nargs="?", type=Path, default=LEADERBOARD)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--check", type=Path)
    options = parser.parse_args()
    table = markdown(read_json(options.board))
    if options.check and put(
        options.check.read_text(encoding="utf-8"), table
    ) != options.check.read_text(encoding="utf-8"):
        sys.exit(
            f"{options.check}: the table is stale; run `python -m clipworks.table --write {options.check}`"
        )
    if options.write:
        options.write.write_text(
            put(options.write.read_text(encoding="utf-8"), table), encoding="utf-8"
        )
    if not options.check and not options.write:
        print(table, end="")


if __name__ == "__main__":
    main()
