"""solutions/scenes from end to end, small; and its dvc.yaml tells the truth."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from classifying import ORDER, ROOT, SOLUTION, STAGES, body, run
from PIL import Image
from test_pipeline import imported, rooms
from thimble import set_params

from clipworks.clip import encoding
from clipworks.kit import images, tables
from clipworks.scenes import submissions


def test_the_pipeline_ends_with_a_table_a_submission_and_a_confusion_matrix(
    finished_scenes,
) -> None:
    board = json.loads((finished_scenes / "metrics/table.json").read_text())
    for row in ("name", "imagenet_80", "blur", "ensemble", "only_wide", "embedding_mean",
                "template_softmax", "log_sum_exp", "drop", "choice_consensus",
                "choice_validation"):  # fmt: skip
        one = board[row]
        assert 0 <= one["low"] <= one["accuracy"] <= one["high"] <= 100
        assert one["p"] is None or 0 <= one["p"] <= 1
    assert set(board) >= {line["against"] for line in board.values() if line["against"]}
    labels = submissions.read(finished_scenes / "data/submit/submission.csv", rows=18, classes=6)
    truth = submissions.known_labels(finished_scenes / "data/world/labels/test.csv")
    assert board["ensemble"]["accuracy"] == round(100 * float((labels == truth).mean()), 2)
    right = pd.read_parquet(finished_scenes / "data/evaluate/right.parquet")
    assert right["ensemble"].tolist() == (labels == truth).tolist()
    assert (finished_scenes / "data/evaluate/confusion.png").stat().st_size > 1000
    classes = pd.read_csv(finished_scenes / "data/evaluate/classes.tsv", sep="\t")
    assert classes["pictures"].sum() == 18
    summary = json.loads((finished_scenes / "metrics/summary.json").read_text())
    assert summary["ensemble"] == board["ensemble"]["accuracy"] and len(summary) <= 8


def test_labels_of_the_test_split_change_no_answer(scenes) -> None:
    before = (scenes / "data/submit/submission.csv").read_bytes()
    labels = scenes / "data/world/labels/test.csv"
    wrong = [(label + 1) % 6 for label in submissions.known_labels(labels).tolist()]
    submissions.write(labels, wrong)
    shutil.rmtree(scenes / "data/ensemble")
    choices = json.loads((scenes / "data/evaluate/choices.json").read_text())
    for stage in ("ensemble", "submit", "evaluate"):
        run(stage)
    assert (scenes / "data/submit/submission.csv").read_bytes() == before
    assert json.loads((scenes / "data/evaluate/choices.json").read_text()) == choices


def test_pictures_of_ones_own_need_no_labels_and_no_validation(scenes) -> None:
    own = scenes.parent / "own"
    shutil.copytree(scenes / "data/world/pictures/test", own)
    shutil.rmtree(scenes / "data")
    shutil.copytree(SOLUTION / "data/templates", scenes / "data/templates")
    set_params(scenes, {"world.source": "folder", "world.folder.test": str(own)})
    for stage in ORDER:
        if not stage.startswith("model"):
            run(stage)
    assert len(submissions.read(scenes / "data/submit/submission.csv")) == 18
    assert json.loads((scenes / "metrics/table.json").read_text()) == {}


def test_labels_of_validation_alone_give_its_figures_and_its_choice(scenes) -> None:
    whole = json.loads((scenes / "metrics/table.json").read_text())
    choice = json.loads((scenes / "data/evaluate/choices.json").read_text())["validation"]
    (scenes / "data/world/labels/test.csv").write_text("id_idx,label\n")
    run("evaluate")
    board = json.loads((scenes / "metrics/table.json").read_text())
    assert board["ensemble"]["accuracy"] is None
    for row, one in whole.items():
        assert board[row]["validation_accuracy"] == one["validation_accuracy"], row
    assert json.loads((scenes / "data/evaluate/choices.json").read_text())["validation"] == choice


def test_a_killed_stage_goes_on_and_other_prompts_need_no_tower(scenes, monkeypatch) -> None:
    monkeypatch.setattr(encoding, "PER_FILE", 4)  # a part's size is its batch's, to the last bit
    shutil.rmtree(scenes / "scratch")
    run("probabilities@wide")
    before = (scenes / "data/probabilities/wide/test.safetensors").read_bytes()
    shutil.rmtree(scenes / "scratch")
    seen: list[str] = []

    def read(path: Path, fail: int) -> Image.Image:
        seen.append(path.name)
        if len(seen) == fail:
            raise KeyboardInterrupt
        return as_stored(path)

    as_stored = images.as_stored
    monkeypatch.setattr(images, "as_stored", lambda path: read(path, 24))
    with pytest.raises(KeyboardInterrupt):
        run("probabilities@wide")
    killed = len(seen)
    monkeypatch.setattr(images, "as_stored", lambda path: read(path, 0))
    run("probabilities@wide")
    assert len(seen) - killed < 30 - 8  # two files of four pictures, at least, were not read again
    assert (scenes / "data/probabilities/wide/test.safetensors").read_bytes() == before
    looked = len(seen)
    text = (scenes / "data/templates/miniature.yaml").read_text()
    (scenes / "data/templates/miniature.yaml").write_text(text.replace("a horse", "a red horse"))
    run("prompts")
    run("probabilities@wide")
    assert len(seen) == looked
    assert (scenes / "data/probabilities/wide/test.safetensors").read_bytes() != before


@pytest.mark.parametrize("name", STAGES)
def test_stage_script_params_and_rooms_agree(name: str) -> None:
    script = SOLUTION / f"stages/{name}.py"
    assert len(script.read_text().splitlines()) <= 65
    if name != "check":  # reads all of params.yaml, as a file
        sections = {entry.split(".")[0] for entry in body(name)["params"]}
        assert name in sections and sections <= {name, "base"}
    modules = re.findall(r"^from (clipworks[\w.]*) import (.+)$", script.read_text(), re.M)
    files: set[str] = set()
    for module, listed in modules:
        files |= imported(module, set())
        for part in re.split(r",\s*", listed.strip("() ")):
            if (ROOT / f"{module}.{part}".replace(".", "/")).with_suffix(".py").exists():
                files |= imported(f"{module}.{part}", set())
    declared = {dep for dep in body(name)["deps"] if dep.startswith("clipworks/")}
    assert declared == rooms(files - {"clipworks/__init__.py"})
    assert f"stages/{name}.py" in body(name)["deps"]


def test_only_evaluate_reads_labels() -> None:
    readers = {n for n in STAGES if any("world/labels" in dep for dep in body(n)["deps"])}
    assert readers == {"evaluate"}
    for name in STAGES:
        assert not {"data/world", "data"} & set(body(name)["deps"]), name


def test_the_table_in_the_readme_is_the_one_that_was_measured() -> None:
    from bench.scenes_seeds import TABLE

    found = tables.read_json(SOLUTION / "metrics/seeds.json")
    assert TABLE.markdown(found) in (SOLUTION / "README.md").read_text()
    assert set(found) == set(tables.read_json(SOLUTION / "metrics/table.json"))
