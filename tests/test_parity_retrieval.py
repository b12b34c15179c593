"""The retrieval solution against values of the authors' functions, and of the rules where they fail.

The folder is named by CLIPWORKS_PARITY_RETRIEVAL; any folder of the same form must pass.
"""

import os

import pytest

from clipworks.retrieval import (
    dataset,
    inventory,
    queries,
    records,
)

FOLDER = os.environ.get("CLIPWORKS_PARITY_RETRIEVAL", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="CLIPWORKS_PARITY_RETRIEVAL is not set")
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def known(texts: dict, group: str) -> inventory.Inventory:
    found = texts[f"{group}/inventory"]
    return inventory.Inventory(*(tuple(found[slot]) for slot in inventory.SLOTS))


def test_lines_are_read(texts) -> None:
    good, bad = records.read(texts["labels/lines"])
    assert bad == []
    for record, row in zip(good, texts["labels/rows"], strict=True):
        assert (record.kind, record.image, record.attribute, record.caption) == (
            row["kind"], row["image"], row["attribute"], row["caption"],
        )  # fmt: skip
        if record.kind == "person":
            assert record.flags == row["flags"]
        else:
            car = inventory.by_case(record.attribute)
            assert (car.colour, car.brand, car.type) == (row["colour"], row["brand"], row["type"])
    for kind in ("car", "person"):
        split = [[r.image, r.attribute, r.caption] for r in good if r.kind == kind]
        assert split == texts["labels/split"][kind]
    cars = inventory.of(r.attribute for r in good if r.kind == "car")
    assert cars.plain() == texts["labels/inventory"]


def test_faulty_lines_are_refused_by_field_and_number(texts) -> None:
    for fault in texts["labels/faults"]:
        good, bad = records.read([fault["line"]])
        assert good == [] and bad[0].field == fault["field"], fault
    good, bad = records.read(texts["labels/mixed_lines"])
    assert [(f.line, f.field) for f in bad] == [
        (e["line_number"], e["field"]) for e in texts["labels/mixed_errors"]
    ]
    lines = texts["labels/mixed_lines"]
    assert [r.caption for r in good] == [
        lines[n - 1].split("$")[2] for n in texts["labels/mixed_good"]
    ]


def test_other_spellings_are_read_alike(texts) -> None:
    good, bad = records.read(texts["labels/spelled_lines"])
    assert bad == []
    for record, row in zip(good, texts["labels/spelled_rows"], strict=True):
        assert (record.kind, record.attribute) == (row["kind"], row["attribute"])
        if record.kind == "car":
            car = inventory.by_case(record.attribute)
            assert (car.colour, car.brand, car.type) == (row["colour"], row["brand"], row["type"])


def test_completed_files_become_training_tables(texts) -> None:
    good, bad = records.read(texts["labels/augmented_lines"], fields=4)
    assert bad == []
    for split, table in texts["labels/augmented_tables"].items():
        folder = f"data/datasets/{split}/{split}_images"
        pairs = [(f"{folder}/{r.image}", r.completed) for r in good]
        assert [line.split("\t") for line in dataset.pairs_text(pairs).splitlines()] == table


def test_queries_are_routed(values, texts) -> None:
    names = known(texts, "queries")
    for routing in ("substring", "word"):
        found = queries.kinds(texts["queries/lines"], names, routing)
        assert [kind == "car" for kind in found] == values[f"queries/car_{routing}"].tolist()


def test_queries_are_shortened_and_lengthened(texts) -> None:
    suffix = "image taken by traffic surveillance cameras"
    for row in texts["queries/encoded_cars"]:
        assert row["submitted"] == row["query"].strip()  # as the layout is read
        query = row["query"]
        assert queries.encoded(query, "car", prefix="drop", suffix="") == row["prefix_dropped"]
        assert queries.encoded(query, "car", prefix="keep", suffix=suffix) == row["suffix_added"]
    for row in texts["queries/encoded_persons"]:
        found = queries.encoded(row["query"], "person", prefix="drop", suffix="")
        assert found == row["encoded"]
    names = known(texts, "queries")
    for row in texts["queries/no_dot"]:
        (kind,) = queries.kinds([row["query"]], names)
        assert queries.encoded(row["query"], kind, prefix="drop", suffix="") == row["encoded"]
