"""The pictures in the organisers' layout: paint the miniature street, or name a folder."""

import shutil
from pathlib import Path

from clipworks.kit import tables
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.retrieval import dataset, world
from clipworks.retrieval.params import Base, World

WHERE = Path("data/world/where.json")
DATASET = Path("data/world/dataset")
TRUTH = Path("data/world/truth")


def main() -> None:
    """Write pictures (or where they lie), and what the test split means beside, where it is known."""
    base, params = load("base", Base), load("world", World)
    TRUTH.mkdir(parents=True, exist_ok=True)
    if params.source == "miniature":
        root = DATASET
        for split in ("train", "val", "test"):
            listed = world.write_split(params.miniature, root, split, base.seed)
        count = world.write_queries(root, TRUTH, listed, base.seed)
    else:
        root = Path(params.folder)
        count = len(dataset.queries(root))
        # The pictures stay where they lie, and DVC has no empty folder.
        DATASET.mkdir(parents=True, exist_ok=True)
        (DATASET / "folder.txt").write_text(f"{root}\n", encoding="utf-8")
        (TRUTH / "folder.txt").write_text(f"{root}\n", encoding="utf-8")
        for name in (dataset.GALLERY_TRUTH, dataset.QUERY_TRUTH):
            if (root / "test" / name).exists():
                shutil.copyfile(root / "test" / name, TRUTH / name)
    tables.write_json(WHERE, {"root": root.as_posix()})
    print(f"world: {len(dataset.gallery(root)):,} pictures to search, {count:,} queries in {root}")


if __name__ == "__main__":
    stage(main)
