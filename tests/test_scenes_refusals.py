"""solutions/scenes: what stages refuse, by name."""

import json

import numpy as np
import pytest
from classifying import run
from safetensors.numpy import save_file
from thimble import set_params

from clipworks.kit import tensors
from clipworks.kit.errors import InputError

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
def test_what_a_stage_stored_is_held_against_its_form(scenes, stage, file, change, message) -> None:
    path = scenes / file
    if path.suffix == ".json":
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    else:
        made = {k: np.ascontiguousarray(v) for k, v in change(tensors.read(path)).items()}
        save_file(made, path)
    with pytest.raises(InputError, match=message):
        run(stage)


def test_a_split_with_other_numbers_of_labels_is_no_ground_for_a_choice(scenes) -> None:
    path = scenes / "data/world/labels/validation.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(
        InputError, match=r"of 12 pictures of the validation split, and 11 have labels"
    ):
        run("evaluate")


def test_a_broken_picture_stops_the_stage_with_its_name(scenes) -> None:
    next((scenes / "data/world/pictures/test").rglob("7.jpg")).write_bytes(b"none")
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
def test_wrong_params_are_refused_by_name(scenes, key, value, stage, message) -> None:
    set_params(scenes, {key: value})
    with pytest.raises(ValueError, match=message):
        run(stage)
