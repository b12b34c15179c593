"""Several processes learn what one does: prompts of the leaderboard, towers of the retrieval."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import retrieving
import test_training
import torch
import yaml
from accelerate import PartialState, debug_launcher
from safetensors.torch import load_file

from clipworks.clip import backbone
from clipworks.kit import runtime
from clipworks.retrieval import dataset, finetuning
from clipworks.retrieval.params import Finetune
from clipworks.tuning import training
from clipworks.tuning.result import Result


def prompts(encoded: Path, clip: backbone.Backbone, scratch: Path) -> Result:
    """Prompts by a batch that two processes cannot halve."""
    return test_training.fit(encoded, clip, scratch, test_training.settings(batch_size=17))


def towers(street: Path, scratch: Path) -> None:
    """An epoch of fine-tuning; its targets are shared over all processes."""
    settings = yaml.safe_load((street / "params.yaml").read_text())["finetune"]["soft"]
    pairs = [(street / f, t) for f, t in dataset.read_pairs(street / "data/prepare/raw.csv")]
    finetuning.Finetuning(
        backbone.load(street / "models/backbone"), pairs, Finetune(**{**settings, "stop": 1}), seed=0,
        judge=lambda _: 0.5, label="x", alike=[t[:4] for _, t in pairs],
        accelerator=runtime.accelerator(torch.device("cpu"), "fp32"), scratch=scratch,
    ).run()  # fmt: skip


@pytest.fixture(scope="module")
def two(encoded, backbone_folder, finished_street, tmp_path_factory) -> Path:
    """What two processes made of both, in one folder. They are forks of a process that has imported
    everything, and not this one: it has threads."""
    folder = tmp_path_factory.mktemp("two")
    places = map(str, (encoded, backbone_folder, finished_street, folder))
    environment = {**os.environ, "PYTHONPATH": str(retrieving.ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, *places],
        env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_two_processes_give_the_loss_curve_of_one(two, encoded, clip, tmp_path) -> None:
    history = prompts(encoded, clip, tmp_path / "one").progress.history
    processes, curve = json.loads((two / "prompts.json").read_text())
    assert processes == 2
    np.testing.assert_allclose(curve, [row["loss"] for row in history], rtol=1e-5)


def test_two_processes_fine_tune_as_one_does(two, finished_street, tmp_path) -> None:
    towers(finished_street, tmp_path / "one")
    one = load_file(tmp_path / "one/epoch_01.safetensors")
    both = load_file(two / "towers/epoch_01.safetensors")
    start = load_file(finished_street / "models/backbone/open_clip_model.safetensors")
    floats = [name for name in start if start[name].is_floating_point()]
    moved = max(float((one[name] - start[name]).abs().max()) for name in floats)
    for name in one:
        torch.testing.assert_close(one[name], both[name], rtol=0, atol=moved * 0.1)


def test_all_processes_hold_to_what_the_first_one_judged(two) -> None:
    found = [json.loads((two / f"judged_{number}.json").read_text()) for number in (0, 1)]
    assert found[0] == found[1] and {row["held_out_mAP"] for row in found[1]} == {0.5}


def one_of_two(captions: Path, weights: Path, street: Path, out: Path) -> None:
    """What each of the processes does."""
    clip = backbone.load(weights)
    learned = prompts(captions, clip, out / "prompts")
    towers(street, out / "towers")
    number = PartialState().process_index
    if number == 0:
        losses = [row["loss"] for row in learned.progress.history]
        facts = [PartialState().num_processes, losses]
        (out / "prompts.json").write_text(json.dumps(facts))
    # Sums on a GPU differ in their last bits: here the processes judge quite otherwise.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.heldout, "mean_ap", lambda _: 0.5 - 0.1 * number)
        judged = prompts(captions, clip, out / "judged").progress
    (out / f"judged_{number}.json").write_text(json.dumps(judged.history))


if __name__ == "__main__":
    debug_launcher(one_of_two, tuple(map(Path, sys.argv[1:])), num_processes=2)
