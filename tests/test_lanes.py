"""Models are trained side by side, in the order of their starts, and a failure is not hidden."""

import threading
import time

import pytest

from clipworks.settings.lanes import side_by_side

STARTS = {"base": "backbone", "ema": "backbone", "zema": "ema", "diff": "backbone"}


class Recorder:
    """Stands for DVC: notes what ran where and when, and fails where it is told to."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.order: list[str] = []
        self.devices: dict[str, str] = {}
        self.most = self.now = 0
        self.lock = threading.Lock()

    def __call__(self, command, environment) -> int:
        name = command[-1]
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.devices[name] = environment.get("CUDA_VISIBLE_DEVICES", "")
        time.sleep(0.02)
        with self.lock:
            self.now -= 1
            self.order.append(name)
        return int(name == self.failing)


def test_every_model_is_trained_once_and_after_the_one_it_goes_on_from() -> None:
    run = Recorder()
    side_by_side(STARTS, ["0", "1"], run)
    assert run.order[0] == "hard_groups" and len(run.order) == 5
    assert run.order.index("train@ema") < run.order.index("train@zema")
    assert run.most == 2 and set(run.devices.values()) == {"", "0", "1"}


def test_a_failed_model_is_named_and_what_goes_on_from_it_is_not_trained() -> None:
    run = Recorder(failing="train@ema")
    with pytest.raises(ValueError, match=r"failed for \['ema'\].*\['zema'\] go on from these"):
        side_by_side(STARTS, ["0", "1", "2"], run)
    assert "train@zema" not in run.order and "train@diff" in run.order


def test_without_a_device_nothing_runs() -> None:
    run = Recorder()
    with pytest.raises(ValueError, match="--devices: name at least one"):
        side_by_side(STARTS, [], run)
    assert run.order == []
