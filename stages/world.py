"""The images: paint the miniature world, or list a data set where it lies."""

from pathlib import Path

from clipworks.kit import tables
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.params import Base, load
from clipworks.miniature.painting import paint_split
from clipworks.miniature.scene import check_glyphs
from clipworks.worlds import coco
from clipworks.worlds.listing import Split, cut_short, find, missing
from clipworks.worlds.params import World

OUT = Path("data/world")
SPLITS: tuple[Split, ...] = ("validation", "test")


def main() -> None:
    """Write images (or where they lie), a list of each split, and its annotations."""
    base, params = load("base", Base), load("world", World)
    names = read_classes(Path(base.classes))
    (OUT / "images").mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        annotations = OUT / f"annotations/{split}.json"
        if params.source != "miniature":
            found = find(params, split, names)
            for odd in filter(None, (missing(found), cut_short(found, split))):
                print(f"world: warning: {odd}")
            listed = found.listed()
            coco.keep(annotations, found.annotations)
            # The pictures stay where they lie; this says where, and DVC has no empty folder.
            (OUT / "images" / f"{split}.txt").write_text(listed["folder"] + "\n")
        else:
            check_glyphs(names, drawn=["world"])
            folder = OUT / "images" / split
            count = getattr(params, split)
            scenes = paint_split(
                params.scene, names, folder, stream=split, count=count, seed=base.seed
            )
            coco.write(annotations, names, scenes)
            listed = {"folder": folder.as_posix(), "images": [scene[0] for scene in scenes]}
        tables.write_json(OUT / f"{split}.json", listed)
        where = f" in {listed['folder']}" if listed["folder"] else ""
        print(f"world: {len(listed['images']):,} {split} images{where}")


if __name__ == "__main__":
    stage(main)
