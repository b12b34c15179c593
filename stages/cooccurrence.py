"""How often captions name two classes together: the conditional matrix."""

from pathlib import Path

import torch

from clipworks.kit import tables, tensors
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.errors import InputError
from clipworks.kit.params import Base, load
from clipworks.kit.tensors import save_file
from clipworks.tuning import cooccurrence
from clipworks.tuning.captions import CaptionTable
from clipworks.tuning.params import Cooccurrence

CAPTIONS = Path("data/filter/captions.parquet")
OUT = Path("data/cooccurrence")


def main() -> None:
    """Write counts, the conditional matrix P[i, j] and a heat map."""
    base, params = load("base", Base), load("cooccurrence", Cooccurrence)
    names = read_classes(Path(base.classes))
    table = CaptionTable(CAPTIONS, names)
    statistics = table.statistics(table.select(params.sources))
    if not statistics.total:
        raise InputError(
            f"no caption is of cooccurrence.sources {params.sources}; choose other sources"
        )
    matrix = cooccurrence.conditional(statistics.together, statistics.count)
    OUT.mkdir(parents=True, exist_ok=True)
    found = {"count": statistics.count, "together": statistics.together, "conditional": matrix}
    save_file(
        {key: value.to(torch.float32).contiguous() for key, value in found.items()},
        str(OUT / "matrix.safetensors"),
        metadata=tensors.about(names),
    )
    share = statistics.together / statistics.count.clamp(min=1)[:, None]
    about = "share of the row class's captions that name the column class too"
    cooccurrence.heat_map(OUT / "conditional.png", share.numpy(), names, about)
    cooccurrence.heat_map(
        OUT / "combinations.png", statistics.together.numpy(), names, "captions that name both"
    )
    strongest = divmod(int(statistics.together.argmax()), len(names))
    print(
        f"cooccurrence: {statistics.total:,} captions; most often together: {', '.join(names[i] for i in strongest)} -> {OUT}"
    )
    tables.write_json(
        OUT / "count.json", dict(zip(names, statistics.count.int().tolist(), strict=True))
    )


if __name__ == "__main__":
    stage(main)
