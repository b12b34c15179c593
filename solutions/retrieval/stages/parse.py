"""Label files and queries as records, with the inventories of colours, brands and types."""

from pathlib import Path

from clipworks.kit import tables
from clipworks.kit.cli import stage
from clipworks.kit.files import NONE
from clipworks.kit.params import load
from clipworks.retrieval import dataset, inventory, parsed, queries
from clipworks.retrieval.inventory import Inventory
from clipworks.retrieval.params import Parse

WHERE = Path("data/world/where.json")
OUT = Path("data/parse")


def main() -> None:
    """Write records of both splits, the inventory, the queries with their kinds, and refused lines."""
    params, root = load("parse", Parse), Path(tables.read_json(WHERE, dataset.Where)["root"])
    refused = {}
    found = {}
    pictures: list[tuple[str, str]] = []
    for split in dataset.LABELLED:
        good, files, faults = parsed.labelled(root, split, skip_bad=params.skip_bad)
        parsed.write(OUT / f"{split}.parquet", good, files)
        refused[dataset.labels(root, split).as_posix()] = [vars(fault) for fault in faults]
        found[split] = good
        pictures += [(file.as_posix(), parsed.digest(file)) for file in files]
    tables.write_tsv(OUT / "pictures.tsv", ("file", "md5"), pictures)
    cars = [record.attribute for record in found["train"] if record.kind == "car"]
    file = Path(params.inventory)
    known = inventory.of(cars) if file == NONE else Inventory.load(file)
    tables.write_json(OUT / "inventory.json", known.plain())
    asked = dataset.queries(root)
    kinds = queries.kinds(asked, known, params.routing)
    tables.write_json(OUT / "queries.json", [{"text": t, "kind": k} for t, k in zip(asked, kinds, strict=True)])  # fmt: skip
    if cars and "car" not in kinds:
        print("warning: there are cars to train on, and no query names a type or a brand as the labels spell them: all are searched as persons (parse.inventory names them)")  # fmt: skip
    odd = queries.unclear(asked, kinds)
    why = "names neither a car (a type or a brand of the inventory) nor a person; searched as it stands"
    refused["queries"] = [{"line": i + 1, "field": "query", "why": why} for i in odd]
    tables.write_json(OUT / "refused.json", refused)
    print(
        f"parse: {len(cars):,} cars and {len(found['train']) - len(cars):,} persons to train on, "
        f"{len(known.colours)} colours, {len(known.types)} types, {len(known.brands)} brands; "
        f"{kinds.count('car'):,} of {len(kinds):,} queries are of cars; "
        f"{sum(map(len, refused.values())) - len(odd)} lines refused, {len(odd)} queries unclear -> {OUT}"
    )


if __name__ == "__main__":
    stage(main)
