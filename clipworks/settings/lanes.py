"""Several training stages side by side, each on a device of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue

from clipworks.kit.errors import InputError

# DVC gives its lock back while a stage runs; a stage that begins or ends meanwhile must wait for it.
DVC = (sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-q")
Run = Callable[[Sequence[str], dict[str, str]], int]


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


def side_by_side(starts: Mapping[str, str], devices: Sequence[str], run: Run = _run) -> None:
    """Run train@MODEL for all models, as many at a time as there are devices.

    Args:
        starts: for each model, the model that it goes on from (or what is none).
        devices: CUDA_VISIBLE_DEVICES of each lane.

    Raises:
        InputError: no device, or a word that is none, or one twice; or a stage failed: its name,
            after the others have come to their end.
    """
    if not devices:
        raise InputError("--devices: name at least one, as 0 or 0,1,2,3")
    if odd := [d for d in devices if not re.fullmatch(r"\d+|(GPU|MIG)-[\w/-]+", d)]:
        raise InputError(
            f"--devices: {odd} are no devices; numbers as nvidia-smi gives them, as 0,1"
        )
    if len(set(devices)) < len(devices):
        raise InputError(f"--devices: {list(devices)} names a device twice; one lane each")
    if run([*DVC, "hard_groups"], {}) != 0:
        raise InputError("what the models share could not be made; see the message above")
    free: SimpleQueue[str] = SimpleQueue()
    for device in devices:
        free.put(device)

    def one(model: str) -> int:
        device = free.get()
        try:
            return run([*DVC, "-s", f"train@{model}"], {"CUDA_VISIBLE_DEVICES": device})
        finally:
            free.put(device)

    left, done, failed = dict(starts), set[str](), list[str]()
    running: dict[Future[int], str] = {}
    with ThreadPoolExecutor(len(devices)) as pool:
        while left or running:
            for model in [m for m, start in left.items() if start not in starts or start in done]:
                running[pool.submit(one, model)] = model
                del left[model]
            if not running:
                break  # what is left goes on from a model that failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                model = running.pop(future)
                (failed.append if future.result() else done.add)(model)
    if failed or left:
        waiting = f"; {sorted(left)} go on from these and were not trained" if left else ""
        raise InputError(f"training failed for {sorted(failed)}; see the messages above{waiting}")
