"""The thimble world: the whole project, copied into a folder of its own, with everything small."""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from clipworks.kit.params import MODELS

ROOT = Path(__file__).parent.parent
STAGES = (
    "check", "world", "backbone", "compose", "caption", "filter", "cooccurrence",
    "encode_captions", "hard_groups", *(f"train@{model}" for model in MODELS),
    "infer@crops", "infer@maps", "ensemble", "evaluate",
)  # fmt: skip
SMALL: dict[str, Any] = {
    "world.validation": 3,
    "world.test": 5,
    "world.scene.side": 96,
    "backbone.images": 300,
    "backbone.trunk_steps": 2,
    "backbone.pair_steps": 2,
    "backbone.width": 8,
    "backbone.text_width": 32,
    "backbone.text_heads": 2,
    "backbone.embed_dim": 32,
    "backbone.scene.side": 32,
    "compose.rounds": 60,
    "caption.combinations": 60,
    "caption.multi_rounds": 2,
    "encode_captions.held_out": 0.3,
    "hard_groups.size": 2,
    "infer.scales": [2],
    "infer.images_per_shard": 2,
    "evaluate.pictures": 2,
}
TRAIN: dict[str, Any] = {
    "contexts": 4,
    "schedule.epochs": 2,
    "schedule.stop": 1,
    "schedule.warmup": "none",
    "schedule.warmup_epochs": 0,
}


def set_params(folder: Path, changes: dict[str, Any]) -> None:
    """Change params.yaml of a project; keys are dotted."""
    path = folder / "params.yaml"
    params = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    for key, value in changes.items():
        *places, last = key.split(".")
        section = params
        for place in places:
            section = section[place]
        section[last] = value
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, where it was built
    path.write_text(yaml.dump(params, Dumper=dumper, sort_keys=False))


def copy(folder: Path) -> Path:
    """The tracked files of this checkout (as they are now), small, in a Git repository of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("solutions/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    every = {f"train.{model}.{key}": value for model in MODELS for key, value in TRAIN.items()}
    set_params(folder, {**SMALL, **every})
    return folder


def commit(folder: Path, message: str) -> None:
    """Commit everything that Git tracks or may track."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    if not (folder / ".git").exists():
        run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "add", "-A")
    run(folder, "git", *who, "commit", "-q", "-m", message)


def run(folder: Path, *command: str, ok: bool = True) -> str:
    """Run a command in a project; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC")}
    environment["PYTHONPATH"] = str(folder)  # its own copy of the library, not the installed one
    found = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    text = found.stdout + found.stderr
    assert not ok or found.returncode == 0, text[-3000:]
    return text


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The folder as working folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run_stages(folder: Path, stages: tuple[str, ...] = STAGES) -> None:
    """Run stages in this process, which spares sixty seconds of imports."""
    with inside(folder):
        for stage in stages:
            name, _, model = stage.partition("@")
            importlib.import_module(f"stages.{name}").main(*([model] if model else []))


def run_sibling(solution: Path, name: str) -> None:
    """A stage of a sibling solution in this process, from the working folder."""
    stage, _, key = name.partition("@")
    spec = importlib.util.spec_from_file_location(
        f"{solution.name}_{stage}", solution / f"stages/{stage}.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(*([key] if key else []))


def outputs(folder: Path) -> dict[str, str]:
    """The digest of every output, by path."""
    written = {"classes", "templates", "runtime", "none"}
    found = {}
    for top in ("data", "models", "metrics"):
        for path in sorted((folder / top).rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not written & set(name.parts) and path.name != ".gitignore":
                found[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
