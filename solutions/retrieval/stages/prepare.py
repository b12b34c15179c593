"""Training tables: a picture's file and its text, with captions as they are and completed."""

from pathlib import Path

from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.retrieval import completion, dataset, parsed
from clipworks.retrieval.params import Prepare
from clipworks.retrieval.queries import encoded

RECORDS = Path("data/parse/train.parquet")
COMPLETED = Path("data/complete/completed.parquet")
OUT = Path("data/prepare")


def main() -> None:
    """Write tables as open_clip's own trainer reads them too."""
    params = load("prepare", Prepare)
    records, files = parsed.read(RECORDS)
    filled = completion.read(COMPLETED)
    OUT.mkdir(parents=True, exist_ok=True)
    different = 0
    for name in ("raw", "completed"):
        pairs = []
        for record, file in zip(records, files, strict=True):
            caption = filled.get(record.image, record.caption) if name == "completed" else record.caption  # fmt: skip
            text = encoded(caption, record.kind, prefix=params.prefix, suffix="")
            pairs.append((file.as_posix(), text))
        (OUT / f"{name}.csv").write_text(dataset.pairs_text(pairs), encoding="utf-8")
        different = len({text for _, text in pairs})
    print(f"prepare: {len(records):,} pairs, {different:,} different texts once completed -> {OUT}")


if __name__ == "__main__":
    stage(main)
