"""Caption features: every distinct text through the frozen text tower, once."""

from pathlib import Path

from clipworks.clip import backbone, features
from clipworks.kit import runtime, tables, tensors
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.params import Base, load
from clipworks.tuning import captions
from clipworks.tuning.companions import read_companions
from clipworks.tuning.params import EncodeCaptions

BACKBONE = Path("models/backbone")
COMBINATIONS = Path("data/compose/combinations.json")
CAPTIONS = Path("data/filter/captions.parquet")
OUT = Path("data/encode_captions")


def main() -> None:
    """Write token features of the distinct texts and the rows (captions, templates) that use them."""
    base, params = load("base", Base), load("encode_captions", EncodeCaptions)
    names = read_classes(Path(base.classes))
    groups = [tuple(group) for group in tables.read_json(COMBINATIONS, list[list[str]])]
    extra = read_companions(params.companions, names)
    device = runtime.pick_device(base.device)
    texts: dict[str, tuple[int, str]] = {}
    with runtime.measured("encode_captions", device) as facts:
        with tables.Writer(OUT / "captions.parquet", captions.ROWS, tensors.about(names)) as out:
            written = tables.rows(CAPTIONS, captions.READ, class_names=names, stage="filter")
            for row in captions.generated(written, params.held_out):
                out.add(**captions.table_row(row, texts))
            for row in captions.templated(
                names, groups, copies=params.template_copies, companions=extra
            ):
                out.add(**captions.table_row(row, texts))
        clip = backbone.load(BACKBONE)
        spelt = [text for _, text in texts.values()]
        cut = features.encode(
            clip, spelt, OUT, batch_size=params.batch_size, dtype=params.dtype, device=device
        )
        facts["texts"] = len(texts)
    tables.write_json(
        OUT / "metrics.json",
        {"rows": out.count, "texts": len(texts), "texts_cut_at_context_length": cut},
    )
    print(f"encode_captions: {out.count:,} rows, {len(texts):,} distinct texts -> {OUT}")


if __name__ == "__main__":
    stage(main)
