"""Stages killed at random moments end with the same bytes; `python -m bench.crash` is the long form."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import thimble

from clipworks.kit import checkpoint

STAGES = ("filter", "train@ema", "infer@crops")
KILLS = 2


@pytest.mark.timeout(280)
def test_killed_stages_end_with_the_same_bytes_and_leave_nothing_behind(finished) -> None:
    command = [sys.executable, "-m", "bench.crash", "--finished", str(finished)]
    done = subprocess.run(
        [*command, "--kills", str(KILLS), *STAGES],
        cwd=thimble.ROOT,
        env={**os.environ, "PYTHONPATH": str(thimble.ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same"] and found["kills"] == KILLS * len(STAGES)
    for stage in found["stages"].values():  # at most what was being answered at a kill
        assert stage["asked_again"] <= KILLS


def test_a_kill_while_scratch_is_cleared_leaves_nothing_to_go_on_from(
    tmp_path, monkeypatch
) -> None:
    folder = tmp_path / "infer/test-0123456789abcdef"
    folder.mkdir(parents=True)
    for name in ("00000.json", "00000.safetensors"):
        (folder / name).write_text("finished")
    whole = shutil.rmtree

    def dying(path: Path, **options: object) -> None:
        if path.exists():
            (path / "00000.safetensors").unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", dying)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.clear(folder)
    assert not folder.exists()  # a shard marked as finished whose tensors are gone
    monkeypatch.setattr(shutil, "rmtree", whole)
    checkpoint.clear(folder)
    assert list(tmp_path.rglob("*.json")) == []


PAINTING = """
import os, sys, time
from pathlib import Path
from clipworks.kit.processes import spread

def work(number):
    Path(str(os.getpid())).touch()
    time.sleep(0.05)

if __name__ == "__main__":
    spread(work, range(4000), what="work")
"""


def test_workers_of_a_killed_process_end_too(tmp_dir) -> None:
    (tmp_dir / "painting.py").write_text(PAINTING)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    parent = subprocess.Popen([sys.executable, "painting.py"], env=environment)
    until(lambda: len([p for p in tmp_dir.iterdir() if p.name.isdigit()]) == 2)
    parent.kill()
    parent.wait()
    workers = [p.name for p in tmp_dir.iterdir() if p.name.isdigit()]
    until(lambda: not any(map(at_work, workers)))


def at_work(process: str) -> bool:
    """Whether it runs; one that nobody has buried has no command line."""
    try:
        return bool(Path("/proc", process, "cmdline").read_bytes())
    except OSError:
        return False


def until(happened) -> None:
    """Wait for it, half a minute at most."""
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)
