"""Training state in a scratch folder outside DVC's outputs, replaced whole after every epoch."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from clipworks.kit.files import check_stored
from clipworks.kit.tensors import save_file

STATE = "state.safetensors"
LIBRARIES = ("torch", "open_clip_torch", "pillow", "numpy")  # that make the numbers
LARGE = 2**28  # bytes


def scratch_folder(stage: str, settings: Any, inputs: list[Path]) -> Path:
    """A folder that belongs to these settings, these inputs, this code and these libraries alone.

    Files over LARGE count by size and time of change: reading them would take too long.
    """
    about = [settings, [version(name) for name in LIBRARIES]]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for path in sorted(inputs):
        check_stored(path)
    for path in [*sorted(inputs), *sorted(Path(__file__).parents[1].rglob("*.py"))]:
        facts = path.stat()
        if facts.st_size > LARGE:
            digest.update(f"{path} {facts.st_size} {facts.st_mtime_ns}".encode())
        else:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Path("scratch") / f"{stage}-{digest.hexdigest()[:16]}"


def states(folder: Path) -> list[Path]:
    """Scratch folders of the same stage, whatever its settings, and of no other whose name begins so."""
    stage = folder.name.rpartition("-")[0]
    return sorted(folder.parent.glob(f"{stage}-{'[0-9a-f]' * 16}"))


def clear(*folders: Path) -> None:
    """Forget a finished stage's states, so that running it again runs it, and what earlier settings
    of the stage left when they were killed.

    A folder is renamed first: a kill must not leave half of it where the next run would go on.
    """
    for folder in folders:
        stage = folder.name.rpartition("-")[0]
        gone = folder.with_name(f"{stage}-gone")
        shutil.rmtree(gone, ignore_errors=True)  # of a run that was killed just here
        for state in states(folder):
            state.replace(gone)
            shutil.rmtree(gone, ignore_errors=True)


def save_state(
    folder: Path,
    modules: Mapping[str, nn.Module | None],
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """Write modules, the best state so far, the optimizer and plain values as one file."""
    tensors = {f"best/{name}": value for name, value in best.items()}
    for name, module in modules.items():
        if module is not None:
            tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{k}": v for k, v in state.items() if isinstance(v, Tensor)}
    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    draft = folder / f"{STATE}.tmp"
    save_file(contiguous, str(draft), metadata={"progress": json.dumps(progress)})
    draft.replace(folder / STATE)


def load_state(
    folder: Path,
    modules: Mapping[str, nn.Module | None],
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Restore everything in place; returns the plain values, or {} where nothing was kept."""
    if not (folder / STATE).exists():
        return {}
    with safe_open(str(folder / STATE), framework="pt") as file:
        progress: dict[str, Any] = json.loads(file.metadata()["progress"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    for name, module in modules.items():
        if module is not None:
            prefix = f"{name}/"
            own = {
                key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)
            }
            module.load_state_dict(own)
    for key in best:
        best[key] = tensors[f"best/{key}"].to(best[key].device)
    state = optimizer.state_dict()
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/")
            state["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(state)
    return progress
