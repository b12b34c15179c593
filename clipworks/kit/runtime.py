"""What a stage cost: wall time, device and peak memory.

These change from run to run, so they are no outputs of a stage (a second run must give the same
hashes) and no metrics to compare: they lie in metrics/runtime/, outside Git.
"""

import json
import os
import re
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clipworks.kit.errors import InputError
from clipworks.kit.places import replacing

if TYPE_CHECKING:
    import torch  # half the stages need no torch and are spared its import
    from accelerate import Accelerator

RUNTIME = Path("metrics/runtime")
LAUNCHERS = ("python", "torchrun", "accelerate", "deepspeed")


def project_root() -> Path:
    """The project's folder, also from the temporary copies in which `dvc exp run --temp` and `--queue`
    run stages: DVC says in DVC_ROOT where the project itself is."""
    if root := os.environ.get("DVC_ROOT"):
        return Path(root)
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def memory() -> int:
    """Bytes of this machine's memory; 0 where it does not say (Windows)."""
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def pick_device(name: str, *, key: str = "base.device") -> "torch.device":
    """The device of a name; "auto" takes the best there is.

    Args:
        key: where people chose it, for the message.

    Raises:
        InputError: there is no such device, or this machine has none.
    """
    import torch

    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, has in there.items() if has))
    if name not in there:
        raise InputError(f"{key}: {name!r} is no device; auto, cuda, mps or cpu")
    if not there[name]:
        raise InputError(
            f"{key}: this machine has no {name}; use auto or cpu (or a torch built for it)"
        )
    return torch.device(name)


def check_launcher(launcher: str) -> None:
    """Raises InputError for what is no command of this machine, or none that starts Python."""
    words = launcher.split() or [""]
    if shutil.which(words[0]) is None:
        why = f"there is no command {words[0]!r} here"
    elif not any(re.sub(r"[\d.]+$", "", Path(word).name) in LAUNCHERS for word in words):
        why = f"{launcher!r} does not start Python"
    elif re.fullmatch(r"-[cm]|--n[^=]*", words[-1]):  # it would swallow what is launched
        why = f"{words[-1]} of {launcher!r} lacks its value"
    else:
        return
    raise InputError(
        f"launcher: {why}; python, or for several processes torchrun --nproc_per_node 2, or on GPUs "
        "accelerate launch --num_processes 2"
    )


def accelerator(device: "torch.device", precision: str) -> "Accelerator":
    """The accelerator of this process; on GPUs it keeps the loss scaler that fp16 needs.

    Args:
        precision: fp32, bf16 or fp16.

    Raises:
        InputError: fp16 on a CPU.
    """
    from accelerate import Accelerator

    cpu = device.type == "cpu"
    if cpu and precision == "fp16":
        raise InputError("precision fp16 needs a GPU; on a CPU fp32 and bf16 are allowed")
    return Accelerator(cpu=cpu, mixed_precision={"fp32": "no"}.get(precision, precision))


@contextmanager
def measured(
    stage: str, device: "torch.device | None" = None, **facts: object
) -> Iterator[dict[str, object]]:
    """Time a stage and write what it took; the block may add facts to the yielded dictionary."""
    start = time.perf_counter()
    more: dict[str, object] = {}
    yield more
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    about: dict[str, object] = {
        "seconds": round(time.perf_counter() - start, 1),
        "peak_memory_MiB": round(peak / 2**20),
        "device": str(device or "cpu"),
    }
    if device is not None and device.type == "cuda":
        import torch

        about["device"] = torch.cuda.get_device_name(device)
        about["peak_device_memory_MiB"] = round(torch.cuda.max_memory_allocated(device) / 2**20)
    RUNTIME.mkdir(parents=True, exist_ok=True)
    content = json.dumps({**about, **facts, **more}, indent=2) + "\n"
    with replacing(RUNTIME / f"{stage}.json") as draft:  # of several processes that end together
        draft.write_text(content, encoding="utf-8")
