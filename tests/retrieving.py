"""The retrieval solution, small: its stages, and what the tests make of them."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from thimble import run_sibling, set_params

ROOT = Path(__file__).parent.parent
SOLUTION = ROOT / "solutions/retrieval"
STAGES = yaml.safe_load((SOLUTION / "dvc.yaml").read_text())["stages"]
VARIANTS = ("hard", "soft", "completed", "completed_hard")
ORDER = (
    "check", "world", "backbone", "parse", "complete", "prepare",
    *(f"finetune@{v}" for v in VARIANTS), "soup", "search", "submit", "evaluate",
)  # fmt: skip
SMALL: dict[str, Any] = {
    **{f"world.miniature.{s}.cars": n for s, n in (("train", 24), ("val", 14), ("test", 16))},
    **{f"world.miniature.{s}.persons": n for s, n in (("train", 12), ("val", 8), ("test", 8))},
    **{f"world.miniature.{s}.car_attributes": 6 for s in ("train", "val", "test")},
    **{f"world.miniature.{s}.person_attributes": 4 for s in ("train", "val", "test")},
    "backbone.scene.side": 32,
    "backbone.images": 48,
    "backbone.trunk_steps": 2,
    "backbone.pair_steps": 2,
    **{f"finetune.{v}.{k}": n for v in VARIANTS for k, n in (("stop", 2), ("batch_size", 12))},
    "search.candidates": 12,
    "evaluate.pictures": 4,
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def run(name: str) -> None:
    """A stage of this solution, from the working folder."""
    run_sibling(SOLUTION, name)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def make(folder: Path) -> None:
    """The whole pipeline with everything small, every stage run once."""
    (folder / "data").mkdir(parents=True)
    shutil.copyfile(SOLUTION / "data/none", folder / "data/none")
    shutil.copyfile(SOLUTION / "params.yaml", folder / "params.yaml")
    set_params(folder, SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in ORDER:
            run(stage)
