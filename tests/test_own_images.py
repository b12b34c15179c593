"""The road of a user's own folder: no labels, no validation split, tags all the same."""

import json
import shutil
from pathlib import Path

import pytest
import thimble
from safetensors.torch import load_file

from clipworks.kit.errors import InputError
from clipworks.report import leaderboard
from clipworks.tagging.export import from_pipeline

STAGES = ("check", "world", "infer@crops", "infer@maps", "ensemble", "evaluate")


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory) -> Path:
    """The finished thimble world, its stages run again on a folder of its test pictures alone."""
    top = tmp_path_factory.mktemp("own")
    folder, album = top / "project", top / "album"
    shutil.copytree(finished, folder, symlinks=True)
    shutil.copytree(finished / "data/world/images/test", album / "deep")
    (album / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    for made in ("world", "infer", "ensemble", "evaluate"):
        shutil.rmtree(folder / "data" / made)  # as DVC does before a stage
    changes = {"world.source": "folder", "world.files.test_images": str(album), "world.test": 0}
    thimble.set_params(folder, {**changes, "infer.max_bad_share": 0.5})
    thimble.run_stages(folder, STAGES)
    return folder


def test_without_labels_all_runs_and_evaluate_says_what_cannot_be_said(project) -> None:
    for name in ("leaderboard", "summary", "tags"):
        assert json.loads((project / f"metrics/{name}.json").read_text()) == {}
    with pytest.raises(
        InputError, match=r"the test images have no labels, so nothing can be measured"
    ):
        leaderboard.table({}, {})
    assert (
        leaderboard.told({}) == "the test images have no labels, so no mAP, CF1 or OF1 can be said"
    )
    page = (project / "data/evaluate/pictures/index.html").read_text()
    assert "deep/test_000000.png" in page and "green is right" not in page
    assert "one threshold: 3 tags an image of 5" in page
    bad = json.loads((project / "data/infer/crops/bad_images.json").read_text())
    assert list(bad["test"]) == ["broken.jpg"] and bad["validation"] == {}


def test_without_a_validation_split_there_are_predictions_for_test_alone(project) -> None:
    assert not (project / "data/ensemble/validation.safetensors").exists()
    rows = load_file(project / "data/ensemble/test.safetensors")
    assert rows["recommended"].shape == (5, 47)
    submission = json.loads((project / "data/ensemble/submission.json").read_text())
    assert len(submission) == 6  # a line for the broken picture too


def test_a_pipeline_without_validation_exports_a_tagger_without_thresholds(project) -> None:
    with thimble.inside(project):
        made = from_pipeline()
        assert made.calibration == {} and len(made.about.models) == 7
        with pytest.raises(InputError, match=r"--thresholds labels: there is no validation split"):
            from_pipeline("labels")


def test_a_finished_pipeline_exports_what_its_recommended_row_says(finished, tmp_path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    with thimble.inside(folder):
        made = from_pipeline("range")
        assert set(made.calibration) == {"maps", "crops", "fast"}
        made.save(Path("t.safetensors"))
        files = json.loads(Path("data/ensemble/test_images.json").read_text())
        eye = made.eye("maps")
        cuts = [eye.cut(name, Path("data/world/images/test") / name) for name in files]
        rows = load_file("data/ensemble/test.safetensors")
        for judged, row in zip(eye.judge(cuts), rows["recommended"], strict=True):
            assert abs(judged.logits - row.numpy()).max() < 0.05  # stored in half precision


def test_thresholds_of_other_prompts_are_refused(finished, tmp_path) -> None:
    shutil.copytree(finished, tmp_path / "project", symlinks=True)
    with thimble.inside(tmp_path / "project"):
        prompts = Path("models/train/ema/prompts.safetensors")
        shutil.copyfile("models/train/zema/prompts.safetensors", tmp_path / "other")
        prompts.unlink()
        shutil.copyfile(tmp_path / "other", prompts)
        with pytest.raises(
            InputError, match=r"ema/prompts\.safetensors changed since data/ensemble"
        ):
            from_pipeline("range")
