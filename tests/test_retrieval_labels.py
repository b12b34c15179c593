"""The contest's own label files; their folder is named by CLIPWORKS_RETRIEVAL_LABELS."""

import json
import os
from pathlib import Path

import pytest

from clipworks.kit.errors import InputError
from clipworks.retrieval import completion, dataset, inventory, queries, records
from clipworks.retrieval.inventory import Inventory

FOLDER = Path(os.environ.get("CLIPWORKS_RETRIEVAL_LABELS", "nowhere"))
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="CLIPWORKS_RETRIEVAL_LABELS is not set")


@pytest.fixture(scope="module")
def cars() -> list[records.Record]:
    good, bad = records.read(
        dataset.lines(FOLDER / "augmented_ViT-bigG-14_val_label.txt"), fields=4
    )
    assert bad == []  # every line is read
    return good


def titles(name: str) -> list[str]:
    return [title for _, title in dataset.read_pairs(FOLDER / name)]


def test_letter_case_finds_the_inventory_in_the_labels(cars) -> None:
    known = Inventory.load(FOLDER / "car_attribute.json")
    assert inventory.of(r.attribute for r in cars).plain() == known.plain()
    assert [len(v) for v in known.plain().values()] == [11, 6, 65]
    assert len(cars) == 3371


def test_the_training_titles_hold_the_same_inventory(cars) -> None:
    found = titles("val_car_data.csv")
    assert found == [r.completed for r in cars]
    words = [title.split() for title in found]
    own = Inventory(
        tuple(sorted({w[0] for w in words})), tuple(sorted({w[-1] for w in words})),
        tuple(sorted({" ".join(w[1:-1]) for w in words})),
    )  # fmt: skip
    assert own.plain() == json.loads((FOLDER / "car_attribute.json").read_text())


@pytest.mark.parametrize("routing", ["word", "substring"])
def test_no_person_is_taken_for_a_car_and_every_car_is_known(cars, routing) -> None:
    known = Inventory.load(FOLDER / "car_attribute.json")
    persons = titles("val_person_data.csv")
    assert len(persons) == 6587
    assert queries.kinds(persons, known, routing).count("car") == 0
    for captions in ([r.caption for r in cars], [r.completed for r in cars]):
        assert queries.kinds(captions, known, routing).count("car") == 3371


def test_every_caption_has_candidates_and_none_invents_a_brand(cars) -> None:
    known = Inventory.load(FOLDER / "car_attribute.json")
    for record in cars:
        gap = completion.gap(record.caption, known)
        said = inventory.by_case(record.attribute)
        for text in (gap.candidates[0], gap.candidates[-1]):
            filled = inventory.find(text.removeprefix(gap.prefix), known)
            assert filled.brand == said.brand
    # The shipped captions do invent them: they are no target.
    lone = [r for r in cars if inventory.by_case(r.attribute).type]
    assert len(lone) == 461
    assert all(inventory.find(r.completed, known).brand for r in lone if not r.completed.endswith("Truck Truck"))  # fmt: skip


def test_files_with_a_line_too_few_are_refused_by_number(tmp_path) -> None:
    text = (FOLDER / "val_car_data.csv").read_text().splitlines()[:5]
    text[3] = text[3].split("\t")[0]
    (tmp_path / "a.csv").write_text("\n".join(text) + "\n")
    with pytest.raises(InputError, match=r"a\.csv, line 4: two fields are expected, neither empty"):
        dataset.read_pairs(tmp_path / "a.csv")
