"""What the retrieval solution refuses, and in which words."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from retrieving import SOLUTION, run
from safetensors.numpy import save_file
from thimble import set_params
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.kit import tensors
from clipworks.kit.errors import InputError
from clipworks.retrieval import check, dataset, parsed


@pytest.mark.parametrize(
    ("change_to", "stage", "message"),
    [
        (("data/world/dataset/train/train_label.txt", "a.jpg$white Falco.\n"), "parse",
         r"train_label\.txt: .*\n  line 37: caption is missing"),
        (("data/world/dataset/train/train_label.txt", "zzz.jpg$white Falco.$A white Falco.\n"), "parse",
         r"train_images/zzz\.jpg does not exist, but the labels name it"),
        (("data/world/dataset/test/test_text.txt", "\nA car.\n"), "parse",
         r"test_text\.txt, line \d+: an empty query"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name_and_line(street, change_to, stage, message) -> None:
    file, line = change_to
    with Path(file).open("a") as out:
        out.write(line)
    with pytest.raises(InputError, match=message):
        run(stage)


def test_bad_lines_may_be_left_out_and_are_listed(street) -> None:
    path = Path("data/world/dataset/train/train_label.txt")
    first = path.read_text().splitlines()[0]
    with path.open("a") as out:
        out.write(f"a.jpg$white Falco.\n{first}\n")
    set_params(street, {"parse.skip_bad": True})
    run("parse")
    refused = json.loads(Path("data/parse/refused.json").read_text())[path.as_posix()]
    assert [(r["line"], r["field"]) for r in refused] == [(37, "caption"), (38, "image")]
    assert len(parsed.read(Path("data/parse/train.parquet"))[0]) == 36


def test_a_query_that_names_nothing_known_is_searched_and_listed(street) -> None:
    with (Path("data/world/dataset/test") / dataset.QUERIES).open("a") as out:
        out.write("A dog in the rain.\n")
    run("parse")
    # This street is so small that types of some queries are in no label: those are listed too.
    *_, listed = json.loads(Path("data/parse/refused.json").read_text())["queries"]
    assert listed["line"] == 11 and "neither a car" in listed["why"]
    assert len(parsed.queries(Path("data/parse/queries.json"))[0]) == 11


def test_an_empty_gallery_and_a_broken_picture_stop_with_their_names(street) -> None:
    folder = Path("data/world/dataset/test/test_images")
    victim = sorted(folder.iterdir())[3]
    victim.write_bytes(b"none")
    with pytest.raises(InputError, match=rf"{victim.name} cannot be read as a picture"):
        run("search")
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(InputError, match=r"test_images holds no pictures: the gallery is empty"):
        run("search")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search.rows.soft.model": "finetune/sof"}, r"search\.rows\.soft\.model: no model 'finetune/sof'"),
        ({"search.rows.soft.against": "soft"}, r"rows\.soft\.against: soft would be held against itself"),
        ({"search.rows.soft.against": "hrad"}, r"rows\.soft\.against: no row 'hrad'"),
        ({"soup.variants": ["best"]}, r"soup\.variants: no variant 'best' in finetune"),
        ({"finetune.completed.square": False}, r"soup\.variants: \[.*\] see pictures in two ways"),
        ({"finetune.completed.keep_epochs": False}, r"finetune\.completed\.keep_epochs is false"),
        ({"search.candidates": 9}, r"candidates 9: rows\..* looks at them again, and answers hold 10"),
        ({"submit.row": "best"}, r"submit\.row: no row 'best'; there are .*or validation"),
        ({"launcher": "torchrum --nproc_per_node 2"}, r"launcher: there is no command 'torchrum' here"),
        ({"finetune.hard.stop": 31}, r"stop 31 exceeds epochs 30"),
        ({"finetune.hard.crop": [1.0, 0.9]}, r"crop .*the smaller first"),
        ({"finetune.hard.lock_image": True, "finetune.hard.lock_text": True}, r"one tower must learn"),
        ({"finetune.hard.targets": "atribute"}, r"key 'hard\.targets'.*did you mean 'attribute'\?"),
        ({"world.source": "folder"}, r"world\.folder: data/none is no folder"),
        ({"world.folder": "mine"}, r"world\.folder: mine would not be read, since world\.source is miniature"),
        ({"parse.inventory": "none.json"}, r"parse\.inventory: none\.json does not exist"),
        ({"base.device": "cpu", "finetune.hard.precision": "fp16"}, r"finetune\.hard\.precision: fp16 needs a GPU"),
        ({"finetune.soft.precision": "fp16"}, r"finetune\.soft\.precision: fp16 needs a GPU"),
        ({"finetune.soft.batch_size": 500}, r"finetune\.soft: a step takes 500 x 1 pictures, and there are 36"),
        ({"backbone.source": "pretrained", "backbone.model": "ViT-bigG-41"}, r"open_clip has no model 'ViT-bigG-41'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_before_anything_runs(street, changes, message) -> None:
    set_params(street, changes)
    with pytest.raises(InputError, match=message):
        run("check")


FOUND = "data/search/test.safetensors"


def rewritten(path: Path, change: Any) -> None:
    """A stored file with another content of the same kind; a link becomes a file of its own."""
    if path.suffix == ".json":
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    elif path.suffix == ".parquet":
        pq.write_table(change(pq.read_table(path)), path)
    else:
        with tensors.opened(path, framework="np") as file:
            about = file.metadata()
        content = change(tensors.read(path))
        path.unlink()
        save_file(content, path, metadata=about)


@pytest.mark.parametrize(
    ("stage", "file", "change", "message"),
    [
        ("prepare", "data/parse/train.parquet", lambda t: t.drop_columns("caption"),
         r"train\.parquet has no columns \['caption'\]; run the stage"),
        ("prepare", "data/parse/train.parquet", lambda t: t.set_column(4, "caption", pa.array(range(36))),
         r"train\.parquet has columns of other types: \['caption'\]"),
        ("prepare", "data/parse/train.parquet", lambda t: t.set_column(4, "caption", pa.nulls(36, pa.string())),
         r"train\.parquet: rows without a value in \['caption'\]"),
        ("prepare", "data/complete/completed.parquet", lambda t: t.drop_columns("kept"),
         r"completed\.parquet has no columns \['kept'\]"),
        ("soup", "models/finetune/completed/epoch_01.safetensors", lambda _: {"a": np.zeros(2)},
         r"epoch_01\.safetensors holds weights of another model; run `dvc repro finetune`"),
        ("submit", "data/parse/queries.json", lambda c: c[1:], r"has places of shape \(10, 10\) for 9 queries"),
        ("submit", "data/parse/queries.json", lambda c: [{"text": "a"}], r"queries\.json is not .* \(0\.kind"),
        ("submit", FOUND, lambda t: {k: v + 99 for k, v in t.items()}, r"has places that none of its 24 pictures"),
        ("submit", FOUND, lambda t: {"a": np.zeros(2)}, r"test\.safetensors holds no rows; run `dvc repro search`"),
        ("evaluate", "data/parse/val.parquet", lambda t: t.slice(1), r"validation\.safetensors.*; run `dvc repro"),
        ("evaluate", "data/submit/chosen.json", lambda c: {**c, "row": "best"}, r"chosen\.json: no row 'best'"),
    ],
)  # fmt: skip
def test_what_a_stage_stored_is_held_against_its_form(street, stage, file, change, message) -> None:
    models = Path("models").resolve()
    Path("models").unlink()
    shutil.copytree(models, "models", copy_function=os.symlink)
    rewritten(Path(file), change)
    with pytest.raises(InputError, match=message):
        run(stage)


def test_single_keys_of_a_variant_or_a_row_can_be_put_in(street) -> None:
    Path("s.yaml").write_text(
        "finetune: {hard: {lr: 2e-4}}\nsearch: {rows: {square: {rerank: 10}}}\n"
    )
    before = check.load()
    done = CliRunner().invoke(app, ["settings", "s.yaml"])
    assert done.exit_code == 0 and "finetune.hard.lr: " in done.output, done.exception
    after = check.load()
    assert after.finetune["hard"].lr == 2e-4 and list(after.finetune) == list(before.finetune)
    assert after.search.rows["square"].rerank == 10
    Path("s.yaml").write_text("finetune: {mine: {lr: 2e-4}}\n")
    done = CliRunner().invoke(app, ["settings", "s.yaml"])
    assert "key 'mine.captions': missing" in str(done.exception) and "taken whole" in str(
        done.exception
    )


def test_the_contests_settings_can_be_put_in_and_pass_but_for_what_is_not_here(street) -> None:
    set_params(street, {"finetune.hard.lr": "3e-4"})
    file = SOLUTION / "data/settings/contest.yaml"
    done = CliRunner().invoke(app, ["settings", str(file)])
    assert done.exit_code == 0, done.output
    params = check.load()
    assert list(params.finetune) == ["authors"] and params.finetune["authors"].lr == 4e-7
    assert params.search.candidates == 12  # what the file does not name stays
    with pytest.raises(InputError) as refused:
        check.check(params)
    lines = [line for line in str(refused.value).splitlines()[1:] if "fp16 needs a GPU" not in line]
    assert len(lines) == 2 and "world.folder" in lines[0] and "laion2b_s39b_b160k" in lines[1]
    assert "can be run" not in CliRunner().invoke(app, ["check"]).output
