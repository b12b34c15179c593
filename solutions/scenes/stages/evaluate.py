"""The table: the only stage that uses labels."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from clipworks.kit import tables, tensors
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.scenes import drawing, evaluation, pooling, rows, table
from clipworks.scenes.cache import Cache
from clipworks.scenes.params import Evaluate
from clipworks.scenes.prompts import PromptSet
from clipworks.scenes.recipes import Choices, Recipe

LABELS = Path("data/world/labels")
PROMPTS = Path("data/prompts/prompts.json")
PROBABILITIES = Path("data/probabilities")
ENSEMBLE = Path("data/ensemble")
TABLE = Path("metrics/table.json")
SUMMARY = Path("metrics/summary.json")
OUT = Path("data/evaluate")


def main() -> None:
    """Write accuracy, interval and McNemar's p of every row, and one row's confusion matrix."""
    params, prompts = load("evaluate", Evaluate), PromptSet.load(PROMPTS)
    truth, about = evaluation.truths(LABELS), tables.read_json(ENSEMBLE / "rows.json", rows.Listed)
    scored = {split: tensors.read(ENSEMBLE / f"{split}.safetensors") for split in truth}
    choices = tables.read_json(ENSEMBLE / "choices.json", Choices)
    if "validation" in truth:
        fixed = Recipe.load(choices["fixed"])
        caches = {split: Cache(PROBABILITIES, split, fixed.weights) for split in truth}
        chosen, made = evaluation.choose_on_validation(
            fixed, caches, truth["validation"], prompts, steps=about["steps"]
        )
        scored = {split: {**own, **made[split]} for split, own in scored.items()}
        choices["validation"] = asdict(chosen)
    right = {split: evaluation.right(truth[split], own) for split, own in scored.items()}
    board = table.board(right, about["rows"], confidence=params.confidence)
    tables.write_json(TABLE, board)
    tables.write_json(SUMMARY, table.summary(board))
    tables.write_json(OUT / "choices.json", choices)
    tables.write_frame(OUT / "table.tsv", table.bars(board))
    if "test" in truth:
        rows.known(params.row, scored["test"], key="evaluate.row")
        labels = pooling.decide(scored["test"][params.row])
        counts = table.confusion(truth["test"], labels, prompts.classes)
        drawing.confusion(OUT / "confusion.png", counts, params.row)
        tables.write_frame(OUT / "classes.tsv", table.per_class(counts, truth["test"]))
        pd.DataFrame(right["test"]).to_parquet(OUT / "right.parquet", index=False)
    unseen = [row for row in board if row != rows.VALIDATION]  # of which no label was seen
    figure = "accuracy" if "test" in truth else "validation_accuracy"
    best = max(unseen, key=lambda row: board[row][figure], default="none: no labels are known")
    where = (
        " (on validation: no labels of test pictures are known)"
        if {*truth} == {"validation"}
        else ""
    )
    print(f"evaluate: {len(board)} rows, the best without labels is {best}{where} -> {TABLE}")


if __name__ == "__main__":
    stage(main)
