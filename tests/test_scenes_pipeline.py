"""solutions/scenes from end to end, small; and its dvc.yaml tells the truth."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import made_once
from PIL import Image
from safetensors.numpy import save_file
from test_pipeline import imported, rooms
from thimble import run_sibling, set_params

from clipworks.clip import encoding
from clipworks.kit import images, tables, tensors
from clipworks.kit.errors import InputError
from clipworks.scenes import submissions

ROOT = Path(__file__).parent.parent
SOLUTION = ROOT / "solutions/scenes"
STAGES = yaml.safe_load((SOLUTION / "dvc.yaml").read_text())["stages"]
MODELS = ("narrow", "wide")
ORDER = (
    "world", *(f"model@{m}" for m in MODELS), "prompts", *(f"probabilities@{m}" for m in MODELS),
    "ensemble", "submit", "evaluate",
)  # fmt: skip
SMALL: dict[str, Any] = {
    "world.miniature.validation": 12,
    "world.miniature.test": 18,
    "world.miniature.scene.side": 64,
    **{f"model.{m}.images": 60 for m in MODELS},
    **{f"model.{m}.trunk_steps": 2 for m in MODELS},
    **{f"model.{m}.pair_steps": 2 for m in MODELS},
    **{f"probabilities.{m}.sharpen": [1, 2.0, 2.3] for m in MODELS},
    "ensemble.steps": 2,
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def run(name: str) -> None:
    """A stage of this solution, from the working folder."""
    run_sibling(SOLUTION, name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The solution with everything small, every stage run once. Not to be changed: copy it."""

    def make(folder: Path) -> None:
        shutil.copytree(SOLUTION / "data/templates", folder / "data/templates")
        shutil.copyfile(SOLUTION / "data/none", folder / "data/none")
        shutil.copyfile(SOLUTION / "params.yaml", folder / "params.yaml")
        set_params(folder, SMALL)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for stage in ORDER:
                run(stage)

    return made_once(tmp_path_factory, "scenes", make)


def test_the_pipeline_ends_with_a_table_a_submission_and_a_confusion_matrix(finished) -> None:
    board = json.loads((finished / "metrics/table.json").read_text())
    for row in ("name", "imagenet_80", "blur", "ensemble", "only_wide", "embedding_mean",
                "template_softmax", "log_sum_exp", "drop", "choice_consensus",
                "choice_validation"):  # fmt: skip
        one = board[row]
        assert 0 <= one["low"] <= one["accuracy"] <= one["high"] <= 100
        assert one["p"] is None or 0 <= one["p"] <= 1
    assert set(board) >= {line["against"] for line in board.values() if line["against"]}
    labels = submissions.read(finished / "data/submit/submission.csv", rows=18, classes=6)
    truth = submissions.known_labels(finished / "data/world/labels/test.csv")
    assert board["ensemble"]["accuracy"] == round(100 * float((labels == truth).mean()), 2)
    right = pd.read_parquet(finished / "data/evaluate/right.parquet")
    assert right["ensemble"].tolist() == (labels == truth).tolist()
    assert (finished / "data/evaluate/confusion.png").stat().st_size > 1000
    classes = pd.read_csv(finished / "data/evaluate/classes.tsv", sep="\t")
    assert classes["pictures"].sum() == 18
    summary = json.loads((finished / "metrics/summary.json").read_text())
    assert summary["ensemble"] == board["ensemble"]["accuracy"] and len(summary) <= 8


def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


COSINES = "data/probabilities/narrow/test.safetensors"


@pytest.mark.parametrize(
    ("stage", "file", "change", "message"),
    [
        ("probabilities@narrow", "data/prompts/prompts.json", lambda c: {**c, "classes": ["zz"]},
         r"prompts\.json holds no prompts of its own classes; run `dvc repro prompts`"),
        ("ensemble", "data/prompts/prompts.json", lambda c: {**c, "prompts": c["prompts"][1:]},
         r"probabilities/narrow is of 792 prompts, and there are 791; run `dvc repro prob"),
        ("ensemble", "data/world/test.json", lambda c: {**c, "images": c["images"][1:]},
         r"17 pictures are listed, and probabilities are of 18"),
        ("ensemble", COSINES, lambda t: {k: v[1:] for k, v in t.items()},
         r"wide is of 18 test pictures, narrow of 17; run `dvc repro probabilities`"),
        ("ensemble", COSINES, lambda t: {**t, "cosines/2": t["cosines/2"][:, 1:]},
         r"narrow/test\.safetensors and texts\.safetensors beside it do not fit together"),
        ("ensemble", COSINES, lambda t: {**t, "cosines/1": t["cosines/1"] * np.nan},
         r"test\.safetensors: \['cosines/1'\] hold what is no number"),
        ("ensemble", COSINES, lambda t: {"other": t["cosines/1"]}, r"holds \['other'\] instead of cosines"),
        ("evaluate", "data/ensemble/rows.json", lambda c: {**c, "steps": None},
         r"rows\.json is not as its stage wrote it \(steps"),
        ("evaluate", "data/ensemble/choices.json", lambda c: {"fixed": {}},
         r"choices\.json is not as its stage wrote it \(fixed\.groups"),
        ("evaluate", "data/ensemble/choices.json", lambda c: {"consensus": c["fixed"]},
         r"choices\.json is not as its stage wrote it \(fixed: Field required"),
        ("evaluate", "data/ensemble/choices.json", lambda c: {**c, "consensus": {}},
         r"choices\.json is not as its stage wrote it \(consensus\.groups"),
        ("evaluate", "data/ensemble/test.safetensors", lambda t: {k: v * np.nan for k, v in t.items()},
         r"row \w+ of data/ensemble holds what is no number"),
        ("evaluate", "data/ensemble/test.safetensors", lambda t: {k: v[1:] for k, v in t.items()},
         r"of data/ensemble is of 17 pictures, and 18 have labels; run `dvc repro ensemble`"),
    ],
)  # fmt: skip
def test_what_a_stage_stored_is_held_against_its_form(
    finished, tmp_path, monkeypatch, stage, file, change, message
) -> None:
    path = copied(finished, tmp_path, monkeypatch) / file
    if path.suffix == ".json":
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    else:
        made = {k: np.ascontiguousarray(v) for k, v in change(tensors.read(path)).items()}
        save_file(made, path)
    with pytest.raises(InputError, match=message):
        run(stage)


def test_a_split_with_other_numbers_of_labels_is_no_ground_for_a_choice(
    finished, tmp_path, monkeypatch
) -> None:
    path = copied(finished, tmp_path, monkeypatch) / "data/world/labels/validation.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(
        InputError, match=r"of 12 pictures of the validation split, and 11 have labels"
    ):
        run("evaluate")


def test_labels_of_the_test_split_change_no_answer(finished, tmp_path, monkeypatch) -> None:
    folder = copied(finished, tmp_path, monkeypatch)
    before = (folder / "data/submit/submission.csv").read_bytes()
    labels = folder / "data/world/labels/test.csv"
    wrong = [(label + 1) % 6 for label in submissions.known_labels(labels).tolist()]
    submissions.write(labels, wrong)
    shutil.rmtree(folder / "data/ensemble")
    choices = json.loads((folder / "data/evaluate/choices.json").read_text())
    for stage in ("ensemble", "submit", "evaluate"):
        run(stage)
    assert (folder / "data/submit/submission.csv").read_bytes() == before
    assert json.loads((folder / "data/evaluate/choices.json").read_text()) == choices


def test_pictures_of_ones_own_need_no_labels_and_no_validation(
    finished, tmp_path, monkeypatch
) -> None:
    folder = copied(finished, tmp_path, monkeypatch)
    own = tmp_path / "own"
    shutil.copytree(folder / "data/world/pictures/test", own)
    shutil.rmtree(folder / "data")
    shutil.copytree(SOLUTION / "data/templates", folder / "data/templates")
    set_params(folder, {"world.source": "folder", "world.folder.test": str(own)})
    for stage in ORDER:
        if not stage.startswith("model"):
            run(stage)
    assert len(submissions.read(folder / "data/submit/submission.csv")) == 18
    assert json.loads((folder / "metrics/table.json").read_text()) == {}


def test_labels_of_validation_alone_give_its_figures_and_its_choice(
    finished, tmp_path, monkeypatch
) -> None:
    folder = copied(finished, tmp_path, monkeypatch)
    whole = json.loads((folder / "metrics/table.json").read_text())
    choice = json.loads((folder / "data/evaluate/choices.json").read_text())["validation"]
    (folder / "data/world/labels/test.csv").write_text("id_idx,label\n")
    run("evaluate")
    board = json.loads((folder / "metrics/table.json").read_text())
    assert board["ensemble"]["accuracy"] is None
    for row, one in whole.items():
        assert board[row]["validation_accuracy"] == one["validation_accuracy"], row
    assert json.loads((folder / "data/evaluate/choices.json").read_text())["validation"] == choice


def test_a_killed_stage_goes_on_and_other_prompts_need_no_tower(
    finished, tmp_path, monkeypatch
) -> None:
    folder = copied(finished, tmp_path, monkeypatch)
    monkeypatch.setattr(encoding, "PER_FILE", 4)  # a part's size is its batch's, to the last bit
    shutil.rmtree(folder / "scratch")
    run("probabilities@wide")
    before = (folder / "data/probabilities/wide/test.safetensors").read_bytes()
    shutil.rmtree(folder / "scratch")
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
    assert (folder / "data/probabilities/wide/test.safetensors").read_bytes() == before
    looked = len(seen)
    text = (folder / "data/templates/miniature.yaml").read_text()
    (folder / "data/templates/miniature.yaml").write_text(text.replace("a horse", "a red horse"))
    run("prompts")
    run("probabilities@wide")
    assert len(seen) == looked
    assert (folder / "data/probabilities/wide/test.safetensors").read_bytes() != before


def test_a_broken_picture_stops_the_stage_with_its_name(finished, tmp_path, monkeypatch) -> None:
    folder = copied(finished, tmp_path, monkeypatch)
    next((folder / "data/world/pictures/test").rglob("7.jpg")).write_bytes(b"none")
    with pytest.raises(ValueError, match=r"7\.jpg cannot be read as a picture"):
        run("probabilities@wide")


@pytest.mark.parametrize(
    ("key", "value", "stage", "message"),
    [
        ("submit.row", "best", "submit", "submit.row: no row 'best'; there are"),
        ("evaluate.row", "ensembel", "evaluate", "evaluate.row: no row .* did you mean 'ensemble'"),
        ("probabilities.wide.sharpen", [], "probabilities@wide", "at least 1 item"),
        ("base.seed", 0, "model@", "name one of .'narrow', 'wide'."),
        ("ensemble.drop", 0.99, "ensemble", "ensemble.drop drops all probabilities of 12 of 12"),
        ("ensemble.groups", ["nam"], "ensemble", r"no prompt group \['nam'\]"),
        ("ensemble.pooling", "mean", "ensemble", "section 'ensemble', key 'pooling'"),
        ("prompts.file", "data/templates/contest.yaml", "prompts", "which are no classes"),
        ("base.places", ["street", "moon"], "world", r"no such place: \['moon'\]"),
        ("model.wide.width", 7, "model@wide", "width 7 is odd"),
    ],
)
def test_wrong_params_are_refused_by_name(
    finished, tmp_path, monkeypatch, key, value, stage, message
) -> None:
    folder = copied(finished, tmp_path, monkeypatch)
    set_params(folder, {key: value})
    with pytest.raises(ValueError, match=message):
        run(stage)


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
