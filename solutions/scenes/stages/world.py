"""The pictures in the contest's layout: paint the miniature world's places, or list folders."""

from pathlib import Path

from clipworks.kit import tables
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.scenes import folder, painting, submissions
from clipworks.scenes.params import Base, Split, World

OUT = Path("data/world")
SPLITS: tuple[Split, ...] = ("validation", "test")


def main() -> None:
    """Write pictures (or where they lie), a list of each split, and its labels beside."""
    base, params = load("base", Base), load("world", World)
    for split in SPLITS:
        pictures, labels = OUT / "pictures" / split, OUT / "labels" / f"{split}.csv"
        if params.source == "miniature":
            painting.check(base.places)
            known = painting.write_split(
                params.miniature, base.places, pictures, stream=split, seed=base.seed
            )
            listed = folder.read(pictures)
        else:
            listed = folder.read_split(params.folder, split)
            known = list(listed.labels or ())
            # The pictures stay where they lie; this says where, and DVC has no empty folder.
            pictures.mkdir(parents=True, exist_ok=True)
            (pictures / "folder.txt").write_text(f"{listed.folder}\n", encoding="utf-8")
        submissions.write(labels, known)  # the header alone where none are known
        about = {"folder": listed.folder.as_posix(), "classes": listed.classes}
        tables.write_json(OUT / f"{split}.json", {**about, "images": listed.images})
        told = "" if known or not listed.images else ", of which no label is known"
        where = f" in {listed.folder}{told}" if listed.images else ""
        print(f"world: {len(listed.images):,} {split} pictures{where}")


if __name__ == "__main__":
    stage(main)
