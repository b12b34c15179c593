"""A sibling solution as a project of its own, with another seed: for tables over several seeds."""

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path.cwd()


def project(solution: Path, place: Path, seed: int) -> Path:
    """A copy of a solution with base.seed set, run to the end; a finished one is not run again."""
    folder = place / str(seed)
    if (folder / "metrics/table.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=solution, capture_output=True, check=True
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        generated = name.startswith((".dvc/", "metrics/"))
        if not (solution / name).is_symlink() and not generated:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(solution / name, folder / name)
    (folder / "clipworks").symlink_to(HERE / "clipworks")
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("\n  seed: 0\n", f"\n  seed: {seed}\n", 1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    environment = {**os.environ, "DVC_NO_ANALYTICS": "true"}
    with (place / f"{seed}.log").open("w") as log:
        for command in (["dvc", "init", "--no-scm", "-q"], ["dvc", "repro"]):
            subprocess.run(command, cwd=folder, env=environment, check=True, stdout=log, stderr=log)
    return folder
