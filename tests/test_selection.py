"""What a model is tuned on and judged by: never the same captions."""

import numpy as np
import pytest
from conftest import CLASSES
from test_captions import NAMES, write
from test_training import settings

from clipworks.clip.features import CaptionFeatures
from clipworks.tuning import hard, selection
from clipworks.tuning.prompts import Prompts
from clipworks.tuning.selection import Data

GROUPS = {"diff": ["cup"], "diffh": ["dog", "cup"], "difft": ["bus"]}


@pytest.fixture
def select(tmp_path, encoded):
    """Selects from the seven captions of test_captions."""
    table, features = write(tmp_path / "captions.parquet"), CaptionFeatures(encoded)

    def chosen(**changes: object) -> Data:
        return selection.select(table, features, settings(**changes), GROUPS)

    return chosen


def test_held_out_captions_judge_and_are_not_trained_on(select) -> None:
    data = select(sources=["multi", "single"])
    assert data.train.tolist() == [0, 3, 6] and data.held_out.tolist() == [1]
    assert data.class_mask.tolist() == [True] * 4


def test_generated_captions_judge_whatever_a_model_is_trained_on(select) -> None:
    data = select(sources=["templates", "pairs"])
    assert data.train.tolist() == [2, 5] and data.held_out.tolist() == [1]


def test_a_hard_list_keeps_the_captions_of_its_classes_and_no_other_label(select) -> None:
    data = select(sources=["multi", "single", "challenge"], hard_list=["diff"])
    assert data.train.tolist() == [3, 4]
    assert data.labels(data.train).tolist() == [[0, 0, 1, 0], [0, 0, 1, 0]]
    assert data.labels(np.array([0])).tolist() == [[0, 0, 0, 0]]


def test_the_source_group_is_the_templates_of_the_first_group(select) -> None:
    data = select(sources=["single", "group"], hard_list=["diffh", "diff"])
    assert data.train.tolist() == [2, 3, 6]
    assert select(sources=["single", "group"], hard_list=["diff", "diffh"]).train.tolist() == [3, 6]
    with pytest.raises(ValueError, match="templates of hard_list, which is empty"):
        select(sources=["single", "group"])


def test_sources_without_a_caption_are_refused(select) -> None:
    with pytest.raises(ValueError, match=r"sources \['single'\]: no caption is left to train on"):
        select(sources=["single"], hard_list=["difft"])


def test_captions_of_a_hard_list_are_looked_at_part_by_part(select, monkeypatch) -> None:
    sizes, real = [], selection.CaptionTable.labels

    def noted(self, selected):
        sizes.append(len(selected))
        return real(self, selected)

    many = np.tile([0, 3], 50_000)
    monkeypatch.setattr(selection.CaptionTable, "select", lambda *a, **k: many)
    monkeypatch.setattr(selection.CaptionTable, "labels", noted)
    assert len(select(sources=["multi"], hard_list=["diff"]).train) == 50_000
    assert len(sizes) == 3 and max(sizes) < 50_000


def test_contexts_that_the_start_lacks_begin_afresh(encoded, clip, tmp_path) -> None:
    Prompts(clip, CLASSES, contexts=4, evidence=False, seed=3).save(tmp_path / "p.safetensors")
    chosen = settings(start="train/a", evidence=True)
    found = selection.begin(clip, CLASSES, chosen, tmp_path / "p.safetensors", seed=9)
    old = Prompts(clip, CLASSES, contexts=4, evidence=False, seed=3).contexts
    new = Prompts(clip, CLASSES, contexts=4, evidence=True, seed=9).contexts
    for kind, expected in {**old, "evidence": new["evidence"]}.items():
        assert found.contexts[kind].tolist() == expected.tolist()
    assert selection.joint_dim(clip.model) == 32


def test_the_hardest_classes_are_dealt_in_turn() -> None:
    ap = np.array([0.9, 0.1, np.nan, 0.2, 0.5, 0.3, 0.8, 0.95])
    assert hard.groups(list("abcdefgh"), ap, size=2) == {
        "diff": ["b", "e"],
        "diffh": ["d", "g"],
        "difft": ["f", "a"],
    }
    with pytest.raises(ValueError, match="3 groups need 9 classes with held-out captions, there a"):
        hard.groups(list("abcdefgh"), ap, size=3)
    alike = np.full(3, 0.5)
    assert hard.groups(["x", "y", "z"], alike, size=1) == {
        "diff": ["x"],
        "diffh": ["y"],
        "difft": ["z"],
    }


def test_fixed_groups_name_classes_of_the_list(tmp_path) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text("groups: {diff: [cup], diffh: [dog, cup], difft: [bus]}\n")
    assert hard.read(path, NAMES) == GROUPS
    path.write_text("groups: {diff: [CUP], diffh: [Dog, cup], difft: [bus]}\n")
    assert hard.read(path, NAMES) == GROUPS  # in any case
    with pytest.raises(ValueError, match="no class 'CUP', 'bus', 'cup' in the class list"):
        hard.read(path, ["dog", "cat"])
    path.write_text("groups: {diff: [cup], difft: [bus]}\n")
    with pytest.raises(ValueError, match=r"has no group \['diffh'\]"):
        hard.read(path, NAMES)
