"""What the scenes' check refuses before a CLIP is trained or loaded, and in which words."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from classifying import SOLUTION
from PIL import Image
from thimble import set_params
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.kit.errors import InputError
from clipworks.scenes import check

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("a misspelt section", {"ensembel": {}}, r"section 'ensembel': unknown; .*mean 'ensemble'\?"),
    ("a misspelt key", {"ensemble.poling": 1}, r"key 'poling': unknown; .*mean 'pooling'\?"),
    ("a misspelt value", {"ensemble.pooling": "shared_sofmax"},
     r"'pooling': .*\(got 'shared_sofmax'\); did you mean 'shared_softmax'\?"),
    ("a group that the prompts have not", {"ensemble.groups": ["names"]},
     r"ensemble\.groups: .*miniature\.yaml has no groups \['names'\]; there are \['name'"),
    ("a file of prompts that is not there", {"prompts.file": "data/templates/mine.yaml"},
     r"data/templates/mine\.yaml does not exist"),
    ("a factor that is not cached", {"ensemble.sharpen.wide": 2.5},
     r"ensemble\.sharpen\.wide: 2\.5 is not among probabilities\.wide\.sharpen \[1.*add it there"),
    ("a model without an entry", {"probabilities.third": {"sharpen": [1], "batch_size": 8}},
     r"probabilities names \['narrow', 'third', 'wide'\], model has \['narrow', 'wide'\]"),
    ("a model that open_clip has not", {"model.wide.source": "pretrained", "model.wide.model": "ViT-L-41"},
     r"model\.wide\.model: open_clip has no model 'ViT-L-41'; close names: .*ViT-L-14"),
    ("weights that are not here", {"model.wide.source": "pretrained", "model.wide.pretrained": "laion2b_s32b_b82k"},
     r"model\.wide\.pretrained: the weights 'laion2b_s32b_b82k' of ViT-L-14 are not on this machine"),
    ("a row to hand in that there is not", {"submit.row": "ensembel"},
     r"submit\.row: no row 'ensembel'; there are .*did you mean 'ensemble'\?"),
    ("a row to draw that there is not", {"evaluate.row": "only_third"}, r"evaluate\.row: no row 'only_third'"),
    ("a group of prompts twice", {"ensemble.groups": ["name", "name"]}, r"'groups': \['name'\] stand there twice"),
    ("prompts of other places", {"base.places": ["street", "kitchen"]},
     r"prompts\.file: .*miniature\.yaml has sentences for \[.*\], which are no classes"),
    ("a place that cannot be drawn", {"base.places": ["street", "moon"]}, r"moon"),
    ("a folder that nobody reads", {"world.folder.test": "mine"},
     r"world\.folder\.test: mine would not be read, since world\.source is miniature"),
    ("a main row without its group", {"prompts.file": "bare.yaml"},
     r"ensemble: the row 'ensemble' cannot be made: groups \[.*\] leave|no prompt group \['sentences'\]"),
    ("templates that do not pair up", {"ensemble.pooling": "template_softmax", "prompts.file": "uneven.yaml", "ensemble.groups": ["name", "sentences"]},
     r"ensemble: the row 'ensemble' cannot be made: pooling template_softmax pairs the classes' prompts"),
    ("a row whose group is missing", {"prompts.file": "few.yaml", "ensemble.groups": ["name"], "submit.row": "blur"},
     r"submit\.row: the row 'blur' cannot be made: no prompt group"),
    ("a validation split that is the test", {"world.source": "folder", "world.folder.test": "own",
                                             "world.folder.validation": "own/"},
     r"validation and test are the same pictures \(own\)"),
    ("a row of labels that nobody knows", {"world.source": "folder", "world.folder.test": "own",
      "prompts.file": "few.yaml", "ensemble.groups": ["name"], "submit.row": "name",
      "evaluate.row": "choice_validation"},
     r"evaluate\.row: 'choice_validation' is chosen on labels of validation pictures, and there are none"),
    ("pictures that cannot be read", {"world.source": "folder", "world.folder.test": "broken"},
     r"1 pictures cannot be read: broken/b/1\.jpg; replace them"),
    ("pictures of a phone", {"world.source": "folder", "world.folder.test": "phone"},
     r"1 pictures cannot be read: phone/b/2\.HEIC; replace them"),
    ("a row to hand in that needs a factor", {"probabilities.narrow.sharpen": [2.0], "submit.row": "blur"},
     r"submit\.row: the row 'blur' looks at pictures sharpened by 1; add it to probabilities\.narrow\.sharpen"),
    ("a folder that is not there", {"world.source": "folder", "world.folder.test": "mine"},
     r"'mine' is no folder"),
]  # fmt: skip


@pytest.fixture
def project(tmp_dir) -> Path:
    shutil.copytree(SOLUTION / "data/templates", tmp_dir / "data/templates")
    shutil.copyfile(SOLUTION / "params.yaml", tmp_dir / "params.yaml")
    for place in ("own/a", "own/b", "broken/a", "broken/b", "phone/a", "phone/b"):
        (tmp_dir / place).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_dir / place / "1.jpg")
    (tmp_dir / "broken/b/1.jpg").write_text("no picture")
    (tmp_dir / "phone/b/2.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    shipped = yaml.safe_load((SOLUTION / "data/templates/miniature.yaml").read_text())
    (tmp_dir / "bare.yaml").write_text(yaml.safe_dump({**shipped, "sentences": {}}))
    uneven = "templates: {name: ['{}']}\nsentences: {street: [a street.]}\n"
    (tmp_dir / "uneven.yaml").write_text(uneven)
    (tmp_dir / "few.yaml").write_text("templates: {name: ['{}']}\n")
    return tmp_dir


def test_what_ships_passes_here_and_on_the_console(project) -> None:
    check.check(check.load())
    found = CliRunner().invoke(app, ["check"])
    assert found.exit_code == 0 and found.output == "params.yaml can be run\n"


@pytest.mark.parametrize(
    ("changes", "message"), [row[1:] for row in WRONG], ids=[r[0] for r in WRONG]
)
def test_wrong_params_of_the_scenes_are_refused(project, changes, message) -> None:  # fmt: skip
    set_params(project, changes)
    with pytest.raises(InputError, match=message):
        check.check(check.load())


def test_what_dvc_could_not_watch_in_a_folder_is_named(project) -> None:
    (project / "own/b/.#1.jpg").symlink_to("somebody@somewhere")  # an editor's lock
    set_params(project, {"world.source": "folder", "world.folder.test": "own"})
    with pytest.raises(
        InputError,
        match=r"world\.folder\.test: own: b/\.#1\.jpg: no plain files to be read .*take them away",
    ):
        check.check(check.load())


def test_sentences_for_other_places_than_a_folder_has_are_found_here_too(project) -> None:
    for name in ("lighthouse", "tunnel"):
        (project / "houses" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(project / "houses" / name / "1.jpg")
    set_params(project, {"world.source": "folder", "world.folder.test": "houses"})
    with pytest.raises(
        InputError,
        match=r"miniature\.yaml has sentences for .*; the classes are \['lighthouse', 'tunnel'\].*\(prompts\.file\)",
    ):
        check.check(check.load())
    set_params(project, {"ensemble.groups": ["names"]})  # neither fault hides the other
    with pytest.raises(InputError, match=r"(?s)has sentences for .*has no groups \['names'\]"):
        check.check(check.load())
    (project / "mine.yaml").write_text("templates: {name: ['a {}'], own: ['a photo of a {}']}\n")
    set_params(project, {"prompts.file": "mine.yaml", "ensemble.groups": ["name", "own"]})
    check.check(check.load())


def test_all_faults_are_reported_at_once(project) -> None:
    set_params(project, {"ensemble.groups": ["names"], "base.places": ["moon"]})
    with pytest.raises(
        InputError, match=r"cannot be run:\n  .*moon.*\n  .*sentences.*\n  ensemble\.groups"
    ):
        check.check(check.load())


def test_more_cosines_than_the_machine_holds_are_refused(project, monkeypatch) -> None:
    monkeypatch.setattr(check, "memory", lambda: 2**24)
    with pytest.raises(
        InputError, match=r"900 pictures x \d+ prompts x \d+ sharpenings of all models take \d+ GiB"
    ):
        check.check(check.load())
