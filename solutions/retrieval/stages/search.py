"""Ten pictures of every query, by every row of the table."""

from pathlib import Path

from clipworks.kit import runtime, tables
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.retrieval import dataset, parsed, results
from clipworks.retrieval.asking import Asked, Gallery
from clipworks.retrieval.looking import Looking
from clipworks.retrieval.params import Base, Search

WHERE = Path("data/world/where.json")
PARSED = Path("data/parse")
MODELS = Path("models")
OUT = Path("data/search")


def main() -> None:
    """Search the validation split, whose labels are known, and the gallery."""
    base, params = load("base", Base), load("search", Search)
    root, device = (
        Path(tables.read_json(WHERE, dataset.Where)["root"]),
        runtime.pick_device(base.device),
    )
    texts, kinds = parsed.queries(PARSED / "queries.json")
    records, files = parsed.read(PARSED / "val.parquet")
    labelled = Gallery.of(records, files)
    test = [dataset.images(root, "test") / name for name in dataset.gallery(root)]
    splits = {"validation": list(labelled.paths), "test": test}
    asked = {
        "validation": Asked.of(records),
        "test": Asked(tuple(texts), tuple(kinds), ("",) * len(texts)),  # what is meant, nobody says
    }
    with runtime.measured("search", device) as facts:
        looking = Looking(MODELS, params, device, splits)
        by_model = sorted(params.rows.items(), key=lambda item: item[1].model)
        for split, paths in splits.items():
            found = {name: looking.search(row, split, asked[split]) for name, row in by_model}
            results.write(OUT / f"{split}.safetensors", found, [path.name for path in paths])
            facts[split] = len(paths)
    print(
        f"search: {len(params.rows)} rows, {len(texts):,} queries, {len(test):,} pictures -> {OUT}"
    )


if __name__ == "__main__":
    stage(main)
