"""Which classes the specialists are for."""

from pathlib import Path

from clipworks.clip import backbone, hand
from clipworks.clip.features import CaptionFeatures
from clipworks.kit import tables
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.params import Base, load
from clipworks.tuning import hard, heldout
from clipworks.tuning.captions import CaptionTable
from clipworks.tuning.params import HardGroups

BACKBONE = Path("models/backbone")
CAPTIONS = Path("data/encode_captions")
OUT = Path("data/hard_groups/groups.json")


def main() -> None:
    """Write three groups of classes, by hand prompts' AP on held-out captions or as given."""
    base, params = load("base", Base), load("hard_groups", HardGroups)
    names = read_classes(Path(base.classes))
    if params.method == "fixed":
        groups = hard.read(Path(params.fixed), names)
    else:
        table = CaptionTable(CAPTIONS / "captions.parquet", names)
        selected = table.judges()
        classes = hand.one_template(backbone.load(BACKBONE), names)
        values = heldout.logits(classes, CaptionFeatures(CAPTIONS), table.text[selected])
        groups = hard.groups(names, heldout.class_ap(values, table, selected), size=params.size)
    tables.write_json(OUT, groups)
    print(f"hard_groups: {groups} -> {OUT}")


if __name__ == "__main__":
    stage(main)
