"""Settings and pictures for tests of worlds that lie elsewhere."""

from pathlib import Path
from typing import Any

from PIL import Image

from clipworks.kit.params import load
from clipworks.worlds import coco
from clipworks.worlds.listing import Split, find
from clipworks.worlds.params import World

ROOT = Path(__file__).parent.parent
NAMES = ["dog", "dining table", "cat"]


def world(source: str, *, images: Path | None, told: Path | None, **changes: Any) -> World:
    shipped = load("world", World, ROOT / "params.yaml")
    nothing = dict.fromkeys(shipped.files.model_dump(), "data/none")
    files = {**nothing, "test_images": str(images), "test_labels": str(told or "data/none")}
    if told is not None and source == "voc2007":
        files["label_folder"] = str(told.parent)
    if told is not None and source == "nuswide":
        files["label_folder"] = str(told.parent.parent / "Groundtruth/TrainTestLabels")
    more = {"source": source, "test": 0, "files": files, **changes}
    return World.model_validate({**shipped.model_dump(), **more})


def list_split(chosen: World, split: Split, out: Path, names: list[str]) -> dict[str, Any]:
    """What the stage does with a split."""
    found = find(chosen, split, names)
    coco.keep(out, found.annotations)
    return found.listed()


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
