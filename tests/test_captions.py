"""The table of training captions: which rows are selected, their labels, and what templates add."""

from pathlib import Path

import numpy as np
import pytest

from clipworks.kit.tables import Writer
from clipworks.tuning import captions
from clipworks.tuning.captions import CaptionTable, Row

NAMES = ["dog", "cat", "cup", "bus"]
# text, source, labels, held out
ROWS = [
    (0, "multi", [0, 1], False),
    (1, "multi", [1], True),
    (0, "templates", [0], False),
    (2, "single", [2], False),
    (3, "challenge", [1, 2], False),
    (4, "pairs", [0, 2], False),
    (0, "single", [0], False),
]


@pytest.fixture
def table(tmp_path) -> CaptionTable:
    return write(tmp_path / "captions.parquet")


def write(path: Path) -> CaptionTable:
    with Writer(path, captions.ROWS) as rows:
        for text, source, labels, held_out in ROWS:
            rows.add(text=text, source=source, labels=labels, held_out=held_out)
    return CaptionTable(path, NAMES)


def test_rows_are_selected_by_source_and_by_side_of_the_split(table) -> None:
    assert table.select(("multi", "single")).tolist() == [0, 1, 3, 6]
    assert table.select(("multi", "single"), held_out=False).tolist() == [0, 3, 6]
    assert table.select(("multi", "templates"), held_out=True).tolist() == [1]
    assert table.select(("companions",)).tolist() == []


def test_the_nearest_captions_are_generated_and_not_held_out_and_each_stands_once(table) -> None:
    assert table.generated_texts().tolist() == [0, 2, 3]


def test_labels_are_dense_rows_in_the_order_asked_for(table) -> None:
    assert table.labels(np.array([4, 1, 0])).tolist() == [[0, 1, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0]]
    assert table.labels(np.array([], int)).shape == (0, 4)
    assert table.count_labels(np.array([0, 1, 3])).tolist() == [1, 2, 1, 0]


def test_statistics_count_classes_and_pairs(table) -> None:
    found = table.statistics(np.array([0, 1, 4]))
    assert found.count.tolist() == [1, 3, 1, 0] and found.total == 3
    assert found.together.tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_many_rows_are_counted_part_by_part(table, monkeypatch) -> None:
    sizes, real = [], table.labels

    def noted(selected):
        sizes.append(len(selected))
        return real(selected)

    monkeypatch.setattr(table, "labels", noted)
    many = np.tile([0, 4], 50_000)
    assert table.count_labels(many).tolist() == [50_000, 100_000, 50_000, 0]
    assert table.statistics(many).together[0].tolist() == [0, 50_000, 0, 0]
    assert sizes == [50_000] * 4  # two parts for each: memory stays flat


def test_captions_of_the_filter_stage_have_neither_texts_nor_a_split(tmp_path) -> None:
    from clipworks.writing.transcript import CAPTIONS

    with Writer(tmp_path / "captions.parquet", CAPTIONS) as rows:
        for number in range(3):
            rows.add(caption=f"caption {number}", source="single", names=["cat"], labels=[1])
    table = CaptionTable(tmp_path / "captions.parquet", NAMES)
    assert table.text.tolist() == [0, 1, 2] and table.held_out.tolist() == [False] * 3
    assert table.labels(np.arange(3)).tolist() == [[0, 1, 0, 0]] * 3
    with pytest.raises(ValueError, match=r"none\.parquet does not exist; run the stage"):
        CaptionTable(tmp_path / "none.parquet", NAMES)


def test_templates_add_classes_pairs_combinations_and_companions() -> None:
    things = {"dog": ["tennis_ball"]}
    found = list(
        captions.templated(
            ["dog", "cat", "cup"], [("cup", "cat", "dog")], copies=2, companions=things
        )
    )
    assert not any(row.held_out for row in found)
    alone = [row for row in found if row.source == "templates"]
    assert len(alone) == 3 * (2 + 80) and [row.labels for row in alone[::82]] == [(0,), (1,), (2,)]
    assert [row.caption for row in alone[:2]] == ["a photo of a dog."] * 2
    assert [row for row in found if row.source != "templates"] == [
        Row("a photo of a dog and a cat.", "pairs", (0, 1), False),
        Row("a photo of a dog and a cup.", "pairs", (0, 2), False),
        Row("a photo of a cat and a cup.", "pairs", (1, 2), False),
        Row("a photo of a cup and a cat and a dog.", "combinations", (0, 1, 2), False),
        Row("a photo of a dog and a tennis ball.", "companions", (0,), False),
    ]


def test_what_reads_like_a_caption_to_train_on_judges_nothing(tmp_path) -> None:
    read: dict[str, tuple[int, str]] = {}
    with Writer(tmp_path / "captions.parquet", captions.ROWS) as rows:
        for text, source, held_out in (
            ("a photo of a dog and a cup.", "pairs", False),
            ("A photo of  a dog and a cup.", "multi", True),  # all the same to CLIP's tokenizer
            ("A dog beside a cup.", "multi", True),
        ):
            rows.add(**captions.table_row(Row(text, source, (0, 2), held_out), read))
    found = CaptionTable(tmp_path / "captions.parquet", NAMES)
    assert found.select(["multi"], held_out=True).tolist() == [1, 2]
    assert found.judges().tolist() == [2] and len(read) == 2


def test_equal_texts_share_a_number() -> None:
    texts: dict[str, tuple[int, str]] = {}
    captions_of = [Row(text, "multi", (2, 0), True) for text in ("a", "b", "a")]
    found = [captions.table_row(row, texts) for row in captions_of]
    assert [row["text"] for row in found] == [0, 1, 0] and texts == {"a": (0, "a"), "b": (1, "b")}
    assert found[0] == {"text": 0, "source": "multi", "labels": [2, 0], "held_out": True}
