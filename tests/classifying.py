"""The scenes solution, small: its stages, and what the tests make of them."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from thimble import run_sibling, set_params

ROOT = Path(__file__).parent.parent
SOLUTION = ROOT / "solutions/scenes"
STAGES = yaml.safe_load((SOLUTION / "dvc.yaml").read_text())["stages"]
MODELS = ("narrow", "wide")
ORDER = (
    "world", *(f"model@{m}" for m in MODELS), "prompts", *(f"probabilities@{m}" for m in MODELS),
    "ensemble", "submit", "evaluate",
)  # fmt: skip
SMALL: dict[str, Any] = {
    "world.miniature.validation": 12,
    "world.miniature.test": 18,
    "world.miniature.scene.side": 64,
    **{f"model.{m}.images": 60 for m in MODELS},
    **{f"model.{m}.trunk_steps": 2 for m in MODELS},
    **{f"model.{m}.pair_steps": 2 for m in MODELS},
    **{f"probabilities.{m}.sharpen": [1, 2.0, 2.3] for m in MODELS},
    "ensemble.steps": 2,
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def run(name: str) -> None:
    """A stage of this solution, from the working folder."""
    run_sibling(SOLUTION, name)


def make(folder: Path) -> None:
    """The whole pipeline with everything small, every stage run once."""
    shutil.copytree(SOLUTION / "data/templates", folder / "data/templates")
    shutil.copyfile(SOLUTION / "data/none", folder / "data/none")
    shutil.copyfile(SOLUTION / "params.yaml", folder / "params.yaml")
    set_params(folder, SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in ORDER:
            run(stage)
