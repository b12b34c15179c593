"""DVC on the thimble world: what the docs say of experiments, the way back and outside data."""

import json
import re
import shutil
from pathlib import Path

import pytest
import thimble
import yaml
from dvc.repo import Repo

from clipworks.settings.reference import leaves, reads, reference

DVC = ("dvc",)


@pytest.fixture(scope="module")
def tracked(finished, tmp_path_factory) -> Path:
    """The finished thimble world, its outputs recorded by DVC and committed."""
    folder = tmp_path_factory.mktemp("tracked") / "project"
    shutil.copytree(finished, folder, symlinks=True)
    for ignored in folder.glob("data/*/.gitignore"):
        ignored.unlink()  # DVC writes them anew
    thimble.run(folder, "git", "init", "-q", "-b", "main")
    thimble.run(folder, "git", "config", "user.name", "test")  # DVC commits experiments
    thimble.run(folder, "git", "config", "user.email", "test@example.org")
    thimble.run(folder, *DVC, "commit", "-f")
    thimble.commit(folder, "finished")
    assert "Data and pipelines are up to date." in thimble.run(folder, *DVC, "status")
    return folder


@pytest.fixture
def project(tracked, tmp_path) -> Path:
    """A copy that a test may change."""
    folder = tmp_path / "project"
    shutil.copytree(tracked, folder, symlinks=True)
    return folder


def status(folder: Path) -> dict[str, list]:
    """The stages that would run, and why. In this process: DVC takes a second to start."""
    with thimble.inside(folder), Repo() as repo:
        return dict(repo.status())


def way_back(folder: Path) -> None:
    """The habit that the docs teach, word for word."""
    line = re.search(
        r"^touch params.yaml; git checkout -f main && dvc checkout -f$", doc("recipes"), re.M
    )
    assert line
    thimble.run(folder, "bash", "-c", line.group())
    assert thimble.run(folder, "git", "status", "--porcelain") == ""
    assert status(folder) == {}


def doc(name: str) -> str:
    return (thimble.ROOT / f"docs/{name}.md").read_text()


@pytest.mark.timeout(240)
def test_experiments_can_be_gone_back_from_also_after_a_failure(project) -> None:
    before, shipped = (
        (project / name).read_text() for name in ("metrics/summary.json", "params.yaml")
    )
    thimble.run(project, *DVC, "exp", "run", "-q", "-n", "tried", "-S", "ensemble.window_weight=9")
    assert (project / "metrics/summary.json").read_text() != before
    changed = thimble.run(project, "git", "diff", "--numstat", "params.yaml").split()
    assert changed[:2] == ["1", "1"], (
        "-S changes one line, since params.yaml has the form DVC writes"
    )
    way_back(project)
    assert (project / "metrics/summary.json").read_text() == before
    # Stopped at once by a value that leaves the file as long as it was: Git sees no change by itself.
    text = thimble.run(
        project, *DVC, "exp", "run", "-q", "-S", "ensemble.default_model=mea", ok=False
    )
    assert "no model 'mea'" in text and "Traceback" not in text
    assert "mea" in (project / "params.yaml").read_text()
    way_back(project)
    assert (project / "params.yaml").read_text() == shipped
    thimble.run(project, *DVC, "exp", "apply", "tried")
    assert (project / "metrics/summary.json").read_text() != before
    way_back(project)
    thimble.run(project, *DVC, "exp", "branch", "tried", "kept")
    assert "kept" in thimble.run(project, "git", "branch")
    assert status(project) == {}


@pytest.mark.timeout(240)
def test_a_temporary_experiment_asks_no_question_twice(project) -> None:
    asked = project / "journal/caption.sqlite"
    size = asked.stat().st_size
    # A stage runs again in a copy of the project; the journal is the project's own.
    thimble.run(project, *DVC, "exp", "run", "-q", "--temp", "-f", "-s", "caption")
    assert asked.stat().st_size == size
    runtime = sorted((project / ".dvc/tmp/exps").rglob("metrics/runtime/caption.json"))
    facts = [json.loads(path.read_text()) for path in runtime]
    assert all(fact["asked"] == 0 for fact in facts)
    copies = [p for p in (project / ".dvc/tmp/exps").rglob("journal/*.sqlite")]
    assert copies == []


def test_what_lies_outside_is_watched(project, tmp_path) -> None:
    outside = tmp_path / "outside"
    (outside / "replies").mkdir(parents=True)
    (outside / "images").mkdir()
    (outside / "classes").mkdir()
    for name in (
        "a.json",
        "w.safetensors",
        "companions.yaml",
        "replies/1.txt",
        "images/1.png",
        "classes/dog_test.txt",
    ):
        (outside / name).write_text("one")
    watched = {
        "world.files.test_labels": ("a.json", {"check", "world"}),
        "world.files.test_images": ("images", {"check", "world", "infer@crops", "infer@maps"}),
        "world.files.label_folder": ("classes", {"check", "world"}),
        "backbone.checkpoint": ("w.safetensors", {"backbone"}),
        "encode_captions.companions": ("companions.yaml", {"check", "encode_captions"}),
        "chat.replay.folder": ("replies", {"check", "compose", "caption", "filter"}),
    }
    thimble.set_params(project, {key: str(outside / name) for key, (name, _) in watched.items()})
    thimble.run(project, *DVC, "commit", "-f")
    assert status(project) == {}
    for key, (name, stages) in watched.items():
        path = outside / name
        path = next(path.iterdir()) if path.is_dir() else path
        path.write_text("two, longer")
        assert set(status(project)) == stages, key
        path.write_text("one")


SAMPLE = {
    "base.device": "cpu",
    "base.seed": 7,
    "chat.openai.timeout": 5,
    "filter.max_length": 120,
    "train.ema.weight_decay": 0.1,
    "infer.batch_size": 9,
    "evaluate.pictures": 1,
}


def test_a_changed_key_reruns_what_the_reference_says_and_nothing_else(project) -> None:
    stages = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    shipped = (project / "params.yaml").read_text()
    values = yaml.safe_load(shipped)
    for key, value in SAMPLE.items():
        thimble.set_params(project, {key: value})
        assert set(status(project)) == set(reads(stages, key, values)), key
        (project / "params.yaml").write_text(shipped)
    assert reads(stages, "base.device", values) == ["check"]  # a device reruns nothing
    assert "world" not in reads(stages, "base.synonyms", values)  # words repaint no picture


def test_every_leaf_of_params_is_in_the_reference_and_the_reference_is_fresh() -> None:
    page = doc("params")
    with thimble.inside(thimble.ROOT):
        assert page == reference(), "stale: run `clipworks reference --write docs/params.md`"
    for key in leaves():
        if key.startswith("train.") and not key.startswith("train.base."):
            continue
        assert f"`{key.replace('train.base.', 'train.MODEL.')}`" in page
