"""The table and the page: the only stage that knows which pictures a test query means."""

from pathlib import Path

import pandas as pd

from clipworks.kit import tables
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.retrieval import (
    dataset,
    evaluation,
    measures,
    page,
    parsed,
    results,
    submission,
    table,
)
from clipworks.retrieval.params import Evaluate, Search

WHERE = Path("data/world/where.json")
TRUTH = Path("data/world/truth")
PARSED = Path("data/parse")
FOUND = Path("data/search")
CHOSEN = Path("data/submit/chosen.json")
TABLE = Path("metrics/table.json")
SUMMARY = Path("metrics/summary.json")
OUT = Path("data/evaluate")


def main() -> None:
    """Write mAP@10 and its kin of every row, and a page of queries with what was found."""
    params, rows = load("evaluate", Evaluate), load("search", Search).rows
    texts, kinds = parsed.queries(PARSED / "queries.json")
    places, names = results.read(FOUND / "test.safetensors", len(texts))
    validation = evaluation.on_validation(PARSED / "val.parquet", FOUND / "validation.safetensors")
    truth, judged = dataset.read_truth(TRUTH, names, texts), {}
    if truth is not None:
        if none := truth.unanswered():
            print(
                f"evaluate: warning: no picture shows {none[:5]} ({len(none)} in all): AP 0, in every row"
            )
        shown = list(truth.gallery.values())
        judged = {row: measures.Judged.of(top, shown, truth.queries) for row, top in places.items()}
        ap = {row: measures.average_precision(one) for row, one in judged.items()}
        OUT.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"kind": kinds, **ap}).to_parquet(OUT / "ap.parquet", index=False)
    board = table.board(rows, judged, validation, kinds)
    tables.write_json(TABLE, board)
    tables.write_json(SUMMARY, table.summary(board))
    tables.write_frame(OUT / "table.tsv", table.bars(board))
    row = tables.read_json(CHOSEN, submission.Chosen)["row"]
    evaluation.known(row, places, key=str(CHOSEN))
    folder = dataset.images(Path(tables.read_json(WHERE, dataset.Where)["root"]), "test")
    page.write(
        OUT / "page.html", texts, places[row], [folder / name for name in names],
        hits=judged[row] if judged else None, row=row, what=rows[row].what, at_most=params.pictures,
    )  # fmt: skip
    told = (
        f"mAP@10 {board[row]['mAP@10']}" if judged else "the truth of the test split is not known"
    )
    print(f"evaluate: {len(board)} rows; {row}, the one that is handed in: {told} -> {TABLE}")


if __name__ == "__main__":
    stage(main)
