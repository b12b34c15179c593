"""The submission: ten names for every query, in the order of the queries."""

from pathlib import Path

from clipworks.kit import tables
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.retrieval import evaluation, parsed, results, submission
from clipworks.retrieval.params import Submit
from clipworks.retrieval.table import best_on_validation

PARSED = Path("data/parse")
FOUND = Path("data/search")
OUT = Path("data/submit/submission.json")
CHOSEN = Path("data/submit/chosen.json")


def main() -> None:
    """Write the JSON of one row, and read it back as the contest would."""
    params = load("submit", Submit)
    texts, _ = parsed.queries(PARSED / "queries.json")
    rows, names = results.read(FOUND / "test.safetensors", len(texts))
    values = evaluation.on_validation(PARSED / "val.parquet", FOUND / "validation.safetensors")
    row = best_on_validation(values) if params.row == "validation" else params.row
    evaluation.known(row, rows, key="submit.row")
    submission.write(OUT, texts, [[names[i] for i in top] for top in rows[row]], names)
    tables.write_json(CHOSEN, {"row": row, "validation": values})
    print(f"submit: {len(texts):,} queries by row {row} -> {OUT}")


if __name__ == "__main__":
    stage(main)
