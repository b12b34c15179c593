"""Training: it learns, resumes, agrees over processes, and stops with a reason."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate import Accelerator
from conftest import CLASSES

from clipworks import features, selection, training
from clipworks.captions import ROWS, CaptionTable
from clipworks.features import CaptionFeatures
from clipworks.objective import learning_rate
from clipworks.params.train import Schedule, TrainModel
from clipworks.tables import Writer

ROOT = Path(__file__).parent.parent
SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text())["train"]["base"]
SCHEDULE = {
    "lr": 0.05,
    "warmup": "constant",
    "warmup_lr": 0.01,
    "warmup_epochs": 1,
    "decay": "cosine",
    "epochs": 5,
    "stop": 4,
}


def settings(**changes: object) -> TrainModel:
    small = {
        "sources": ["multi", "single"],
        "contexts": 4,
        "batch_size": 16,
        "schedule": SCHEDULE,
        "ema_local_weight": 10,
    }
    return TrainModel.model_validate({**SHIPPED, **small, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    """Captions of six classes, encoded by the tiny CLIP."""
    out = tmp_path_factory.mktemp("captions")
    rng = np.random.default_rng(0)
    texts: list[str] = []
    with Writer(out / "captions.parquet", ROWS) as rows:
        for number in range(120):
            labels = sorted(rng.choice(6, int(rng.integers(1, 4)), replace=False).tolist())
            texts.append(f"number {number}: " + " and ".join(f"a {CLASSES[i]}" for i in labels))
            rows.add(
                text=number,
                source="multi" if len(labels) > 1 else "single",
                labels=labels,
                held_out=number % 4 == 0,
            )
    features.encode(clip, texts, out, batch_size=32, dtype="float32", device=torch.device("cpu"))
    return out


def fit(
    folder: Path,
    clip,
    scratch: Path,
    chosen: TrainModel,
    groups: dict | None = None,
    precision: str = "no",
) -> training.Result:
    table = CaptionTable(folder / "captions.parquet", CLASSES)
    data = selection.select(table, CaptionFeatures(folder), chosen, groups or {})
    make = lambda: selection.begin(clip, CLASSES, chosen, Path("none"), seed=0)  # noqa: E731
    return training.fit(
        make(),
        clip.model,
        data,
        chosen,
        seed=0,
        accelerator=Accelerator(cpu=True, mixed_precision=precision),
        scratch=scratch,
        make_teacher=make,
        label="test",
    )


def test_the_loss_falls_and_the_held_out_map_rises(folder, clip, tmp_path) -> None:
    history = fit(folder, clip, tmp_path, settings()).progress.history
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]
    assert max(row["held_out_mAP"] for row in history) >= history[0]["held_out_mAP"]


@pytest.mark.parametrize(
    "changes", [{}, {"ema": True, "save": "teacher"}, {"optimizer": "adamw", "learn_scales": True}]
)
def test_a_run_killed_after_any_epoch_ends_with_the_same_bytes(
    folder, clip, tmp_path, monkeypatch, changes
) -> None:
    whole = fit(folder, clip, tmp_path / "whole", settings(**changes))
    calls = 0
    real = training.save_state

    def dying(*arguments: object) -> None:
        nonlocal calls
        real(*arguments)
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_state", dying)
    with pytest.raises(KeyboardInterrupt):
        fit(folder, clip, tmp_path / "killed", settings(**changes))
    monkeypatch.setattr(training, "save_state", real)
    resumed = fit(folder, clip, tmp_path / "killed", settings(**changes))
    for name, value in whole.prompts.state_dict().items():
        assert torch.equal(resumed.prompts.state_dict()[name], value), name
    assert resumed.progress.history == whole.progress.history


def test_half_precision_trains_almost_alike(folder, clip, tmp_path) -> None:
    from accelerate.state import AcceleratorState

    whole = fit(folder, clip, tmp_path / "a", settings()).progress.history
    AcceleratorState._reset_state()
    try:
        half = fit(
            folder, clip, tmp_path / "b", settings(precision="bf16"), precision="bf16"
        ).progress.history
    finally:
        AcceleratorState._reset_state()
    assert half[0]["loss"] == pytest.approx(whole[0]["loss"], rel=0.2)
    assert half[0]["loss"] != whole[0]["loss"]
    assert half[-1]["loss"] < half[0]["loss"]


def test_a_finished_run_is_not_trained_again(folder, clip, tmp_path, monkeypatch) -> None:
    first = fit(folder, clip, tmp_path, settings())
    monkeypatch.setattr(training, "_step", None)
    again = fit(folder, clip, tmp_path, settings())
    assert torch.equal(again.prompts.contexts["global"], first.prompts.contexts["global"])


def test_the_best_or_the_last_checkpoint_is_taken(folder, clip, tmp_path) -> None:
    best = fit(folder, clip, tmp_path / "a", settings(checkpoint="best")).progress
    assert best.best_map == max(row["held_out_mAP"] for row in best.history)
    last = fit(folder, clip, tmp_path / "b", settings(checkpoint="last")).progress
    assert last.best_epoch == len(last.history) - 1


def test_patience_ends_training_early(folder, clip, tmp_path) -> None:
    hopeless = {**SCHEDULE, "lr": 1e-9, "warmup_lr": 1e-9, "epochs": 40, "stop": 40}
    progress = fit(folder, clip, tmp_path, settings(patience=2, schedule=hopeless)).progress
    assert progress.epoch <= 6


def test_a_loss_that_is_no_number_stops_the_run(folder, clip, tmp_path) -> None:
    wild = {**SCHEDULE, "lr": 1e30, "warmup": "none"}
    with pytest.raises(
        ValueError, match=r"the loss became (nan|inf): lower schedule\.lr \(1e\+30\)"
    ):
        fit(folder, clip, tmp_path, settings(schedule=wild))


def test_a_class_without_captions_is_named(folder, clip, tmp_path) -> None:
    table = CaptionTable(folder / "captions.parquet", [*CLASSES, "unicorn"])
    data = selection.select(table, CaptionFeatures(folder), settings(), {})
    with pytest.raises(ValueError, match=r"no training caption names \['unicorn'\]"):
        training._check_classes(data)


def test_a_hard_list_cuts_labels_down_and_drops_other_captions(folder) -> None:
    table = CaptionTable(folder / "captions.parquet", CLASSES)
    data = selection.select(
        table, CaptionFeatures(folder), settings(hard_list=["diff"]), {"diff": ["dog", "cup"]}
    )
    labels = data.labels(data.train)
    assert labels.any(axis=1).all() and set(np.flatnonzero(labels.any(axis=0))) == {1, 4}
    with pytest.raises(ValueError, match=r"hard_list: \['hard'\]: allowed are \['diff'\]"):
        selection.select(
            table, CaptionFeatures(folder), settings(hard_list=["hard"]), {"diff": ["dog"]}
        )


def test_training_goes_on_from_another_models_prompts(folder, clip, tmp_path) -> None:
    first = fit(folder, clip, tmp_path / "a", settings()).prompts
    first.save(tmp_path / "p.safetensors")
    later = selection.begin(
        clip, CLASSES, settings(start="train/a"), tmp_path / "p.safetensors", seed=9
    )
    assert torch.equal(later.contexts["local"], first.contexts["local"])
    with pytest.raises(ValueError, match="make contexts and class_specific equal"):
        selection.begin(
            clip, CLASSES, settings(start="train/a", contexts=5), tmp_path / "p.safetensors", seed=9
        )


@pytest.mark.parametrize(
    ("warmup", "decay", "expected"),
    [
        ("none", "constant", [1.0, 1.0, 1.0, 1.0]),
        ("constant", "constant", [0.1, 1.0, 1.0, 1.0]),
        ("linear", "constant", [0.55, 1.0, 1.0, 1.0]),
        ("none", "linear", [1.0, 0.75, 0.5, 0.25]),
        (
            "none",
            "cosine",
            [1.0, 0.5 + 0.5 * np.cos(np.pi / 4), 0.5, 0.5 + 0.5 * np.cos(3 * np.pi / 4)],
        ),
    ],
)
def test_learning_rates_by_hand(warmup: str, decay: str, expected: list[float]) -> None:
    schedule = Schedule(
        lr=1.0, warmup=warmup, warmup_lr=0.1, warmup_epochs=1, decay=decay, epochs=4, stop=4
    )
    assert [learning_rate(schedule, epoch) for epoch in range(4)] == pytest.approx(expected)


def test_dense_labels_equal_the_rows_lists(folder) -> None:
    from clipworks.tables import rows

    table = CaptionTable(folder / "captions.parquet", CLASSES)
    listed = [row["labels"] for row in rows(folder / "captions.parquet")]
    chosen = np.array([5, 0, 77])
    dense = table.labels(chosen)
    assert [np.flatnonzero(row).tolist() for row in dense] == [listed[i] for i in chosen]


WORKER = """
import sys, json
sys.path.insert(0, {tests!r})
from pathlib import Path
import torch
torch.set_num_threads(1)
import test_training as t
from accelerate import Accelerator
from clipworks import backbone, selection, training
from clipworks.captions import CaptionTable
from clipworks.features import CaptionFeatures
clip = backbone.load(Path({clip!r}))
chosen = t.settings(batch_size=17)
table = CaptionTable(Path({folder!r}) / "captions.parquet", t.CLASSES)
data = selection.select(table, CaptionFeatures(Path({folder!r})), chosen, dict())
make = lambda: selection.begin(clip, t.CLASSES, chosen, Path("none"), seed=0)
accelerator = Accelerator(cpu=True)
result = training.fit(make(), clip.model, data, chosen, seed=0, accelerator=accelerator, scratch=Path(sys.argv[1]), make_teacher=make, label="test")
if accelerator.is_main_process:
    Path(sys.argv[1] + ".json").write_text(json.dumps([accelerator.num_processes, result.progress.history]))
"""


def test_two_processes_give_the_loss_curve_of_one(folder, backbone_folder, tmp_path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        WORKER.format(tests=str(ROOT / "tests"), clip=str(backbone_folder), folder=str(folder))
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # On CPUs `accelerate launch` wants MPI for several processes; torchrun is what it uses on GPUs.
    launchers = {
        1: [
            "accelerate.commands.launch",
            "--cpu",
            "--num_processes",
            "1",
            "--num_machines",
            "1",
            "--mixed_precision",
            "no",
            "--dynamo_backend",
            "no",
        ],
        2: ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
    }
    curves = []
    for processes, launcher in launchers.items():
        run = str(tmp_path / f"run{processes}")
        command = [sys.executable, "-m", *launcher, str(script), run]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr[-2000:]
        count, history = json.loads((tmp_path / f"run{processes}.json").read_text())
        assert count == processes
        curves.append([row["loss"] for row in history])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)
