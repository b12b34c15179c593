"""Several processes train as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from test_training import ROOT

WORKER = """
import sys, json
sys.path.insert(0, {tests!r})
from pathlib import Path
import torch
torch.set_num_threads(1)
import test_training as t
from accelerate import Accelerator
from clipworks.clip import backbone
from clipworks.tuning import selection, training
from clipworks.tuning.captions import CaptionTable
from clipworks.clip.features import CaptionFeatures
clip = backbone.load(Path({clip!r}))
chosen = t.settings(batch_size=17)
table = CaptionTable(Path({encoded!r}) / "captions.parquet", t.CLASSES)
data = selection.select(table, CaptionFeatures(Path({encoded!r})), chosen, dict())
make = lambda: selection.begin(clip, t.CLASSES, chosen, Path("none"), seed=0)
accelerator = Accelerator(cpu=True)
result = training.Tuning(make, clip.model, data, chosen, seed=0, accelerator=accelerator, scratch=Path(sys.argv[1]), label="test").run()
if accelerator.is_main_process:
    Path(sys.argv[1] + ".json").write_text(json.dumps([accelerator.num_processes, result.progress.history]))
"""


def curve(folder: Path, encoded: Path, clip: Path, launcher: list[str]) -> tuple[int, list[float]]:
    """How many processes trained, and their loss by epoch."""
    script = folder / "worker.py"
    script.write_text(
        WORKER.format(tests=str(ROOT / "tests"), clip=str(clip), encoded=str(encoded))
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(script), str(folder / "run")]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    count, history = json.loads((folder / "run.json").read_text())
    return count, [row["loss"] for row in history]


def test_two_processes_give_the_loss_curve_of_one(encoded, backbone_folder, tmp_path) -> None:
    # On CPUs `accelerate launch` wants MPI for several processes; torchrun is what it uses on GPUs.
    launchers = {1: [], 2: ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]}
    curves = []
    for processes, launcher in launchers.items():
        folder = tmp_path / str(processes)
        folder.mkdir()
        count, losses = curve(folder, encoded, backbone_folder, launcher)
        assert count == processes
        curves.append(losses)
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)
