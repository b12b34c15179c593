"""Every stage in order, small, in an empty folder: outputs, one printed line, equal bytes again."""

import hashlib
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from clipworks.kit.params import MODELS

ROOT = Path(__file__).parent.parent
ORDER = [
    "world",
    "backbone",
    "compose",
    "caption",
    "filter",
    "cooccurrence",
    "encode_captions",
    "hard_groups",
]
SMALL = {
    "world": {"validation": 2, "test": 5, "scene.side": 96},
    "backbone": {
        "images": 300,
        "trunk_steps": 2,
        "pair_steps": 2,
        "width": 8,
        "text_width": 32,
        "text_heads": 2,
        "embed_dim": 32,
        "scene.side": 32,
    },
    "compose": {"rounds": 60},
    "caption": {"combinations": 60, "multi_rounds": 2},
    "encode_captions": {"held_out": 0.3},
    "hard_groups": {"size": 2},
    "infer": {"scales": [2], "images_per_shard": 2},
    "evaluate": {"pictures": 2},
}


def prepare(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    for name in ("classes", "templates"):
        (folder / "data" / name).symlink_to(ROOT / "data" / name)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in SMALL.items():
        for key, value in values.items():
            place, _, last = key.rpartition(".")
            (params[section][place] if place else params[section])[last] = value
    for model in MODELS:
        params["train"][model]["contexts"] = 4
        params["train"][model]["schedule"].update(
            {"epochs": 2, "stop": 1, "warmup": "none", "warmup_epochs": 0}
        )
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def run_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(folder)
    for name in ORDER:
        importlib.import_module(f"stages.{name}").main()
    for model in MODELS:
        importlib.import_module("stages.train").main(model)
    for way in ("crops", "maps"):
        importlib.import_module("stages.infer").main(way)
    for name in ("ensemble", "evaluate"):
        importlib.import_module(f"stages.{name}").main()
    found = {}
    for top in ("data", "models", "metrics"):
        for path in sorted((folder / top).rglob("*")):
            outside = {"classes", "templates", "runtime"} & set(path.relative_to(folder).parts)
            if path.is_file() and not outside:
                found[path.relative_to(folder).as_posix()] = hashlib.sha256(
                    path.read_bytes()
                ).hexdigest()
    return found


@pytest.mark.timeout(280)
def test_all_stages_run_and_run_again_to_the_same_bytes(tmp_path, monkeypatch, capsys) -> None:
    outputs = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        prepare(folder)
        outputs.append(run_all(folder, monkeypatch))
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split(":")[0] for line in lines].count("train") == 12
    assert outputs[0].keys() == outputs[1].keys()
    differing = [path for path in outputs[0] if outputs[0][path] != outputs[1][path]]
    assert differing == []
    produced = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for stage in produced.values():
        for out in stage.get("outs", []):
            assert any(path.startswith(out) for path in outputs[0]), out
    check_outputs(tmp_path / "one")
    check_bad_images(tmp_path / "one", monkeypatch)


def check_bad_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken image is listed with its reason; too many stop the run; the rest goes on without it."""
    monkeypatch.chdir(folder)
    (folder / "data/world/images/test/test_000002.png").write_bytes(b"")
    infer = importlib.import_module("stages.infer")
    with pytest.raises(
        ValueError, match=r"14\.29% of the images are bad, infer\.max_bad_share allows 1\.00%"
    ):
        infer.main("crops")
    listed = json.loads((folder / "data/infer/crops/bad_images.json").read_text())
    assert listed == {"validation": {}, "test": {"test_000002.png": "the file is empty (0 bytes)"}}
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["infer"]["max_bad_share"] = 0.5
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for way in ("crops", "maps"):
        importlib.import_module("stages.infer").main(way)
    for name in ("ensemble", "evaluate"):
        importlib.import_module(f"stages.{name}").main()
    assert len(json.loads((folder / "data/ensemble/test_images.json").read_text())) == 4
    submission = json.loads((folder / "data/ensemble/submission.json").read_text())
    scored = np.delete(submission, 2, axis=0)
    assert len(submission) == 5 and submission[2] == scored.min(axis=0).tolist()


def check_outputs(folder: Path) -> None:
    board = json.loads((folder / "metrics/leaderboard.json").read_text())
    assert {
        "zero_shot",
        "zero_shot_standardised",
        "base_whole",
        "base_windows",
        "ensemble",
        "maps_ensemble",
    } <= board.keys()
    assert all(0 <= row["mAP"] <= 100 for row in board.values())
    submission = json.loads((folder / "data/ensemble/submission.json").read_text())
    assert len(submission) == 5 and {len(row) for row in submission} == {47}
    routes = json.loads((folder / "data/ensemble/routes.json").read_text())
    assert len(routes) == 47
    metrics = json.loads((folder / "data/filter/metrics.json").read_text())
    assert metrics["kept"] + sum(metrics["rejected"].values()) == metrics["candidates"]
    assert (folder / "data/evaluate/pictures/index.html").exists()
    annotations = json.loads((folder / "data/world/annotations/test.json").read_text())
    assert len(annotations["images"]) == 5 and len(annotations["categories"]) == 47
    for entry in annotations["annotations"]:
        x, y, w, h = entry["bbox"]
        assert 0 <= x and 0 <= y and x + w <= 96 and y + h <= 96 and w > 0 and h > 0
