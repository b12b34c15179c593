"""Ray gives the rows that one machine gives, also when a worker dies in the middle (needs ray[data])."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from albums import png, shard
from conftest import CLASSES

from clipworks.tagging import work
from clipworks.tagging.tagger import Tagger

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Ray's own
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def tagger(clip, backbone_folder) -> Tagger:
    return Tagger.of(clip, CLASSES, word=str(backbone_folder), scales=[2])


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def rows(path: Path) -> list[dict]:
    return json.loads(path.read_text())


def test_two_workers_give_the_rows_of_one_machine_also_when_one_is_killed(
    tagger, cluster, tmp_dir
) -> None:
    folder = tmp_dir / "shards"
    folder.mkdir()
    for number in range(8):
        members = {f"{number}-{i}.png": png(40, 10 * number + i) for i in range(6)}
        shard(folder / f"{number}.tar", members | {f"{number}-bad.jpg": b"no"})
    (folder / "loose.png").write_bytes(png(50, 3))
    work.tag(tagger, ["shards"], tmp_dir / "here.json", "maps", device="cpu")
    killed: list[str] = []
    kill = threading.Thread(target=one_worker_dies, args=(tmp_dir / "there.json.parts", killed))
    kill.start()
    work.tag(tagger, ["shards"], tmp_dir / "there.json", "maps", workers=2)
    kill.join()
    assert killed
    assert rows(tmp_dir / "there.json") == rows(tmp_dir / "here.json")
    assert len(rows(tmp_dir / "here.json")) == 57
    assert not (tmp_dir / "there.json.parts").exists()


def one_worker_dies(parts: Path, killed: list[str]) -> None:
    """Kill the process of an actor when the first part is done."""
    until = time.monotonic() + 120
    while (
        time.monotonic() < until and len(list(parts.glob("*.safetensors"))) < 2
    ):  # the tagger is one
        time.sleep(0.02)
    for line in subprocess.run(
        ["ps", "-eo", "pid,args"], capture_output=True, text=True
    ).stdout.splitlines():
        if "ray::" in line and "Worker" in line:
            os.kill(int(line.split()[0]), signal.SIGKILL)
            killed.append(line)
            return
