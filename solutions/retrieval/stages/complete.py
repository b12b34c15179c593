"""Types and colours that labels leave out, by a CLIP that has seen no label."""

from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.nn import functional as F

from clipworks.clip import backbone, encoding
from clipworks.kit import runtime
from clipworks.kit.checkpoint import scratch_folder
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.retrieval import completion, parsed, validation
from clipworks.retrieval.inventory import Inventory
from clipworks.retrieval.params import Base, Complete

RECORDS = Path("data/parse/train.parquet")
INVENTORY = Path("data/parse/inventory.json")
BACKBONE = Path("models/backbone")
OUT = Path("data/complete/completed.parquet")


def main() -> None:
    """Write a line a car: what was missing, what was filled in, how sure, and whether it is kept."""
    base, params = load("base", Base), load("complete", Complete)
    records, files = parsed.read(RECORDS)
    known, device = Inventory.load(INVENTORY), runtime.pick_device(base.device)
    cars = [i for i, record in enumerate(records) if record.kind == "car"]
    gaps = completion.gaps([records[i].caption for i in cars], known, fill=params.fill)
    place = completion.distinct(gaps)
    with runtime.measured("complete", device, candidates=len(place)):
        clip = backbone.load(BACKBONE)
        paths = [files[i] for i in cars]
        work = partial(validation.prepare, size=clip.image_size, square=params.square)
        kept = scratch_folder("complete/images", params.square, backbone.files(BACKBONE))
        images = encoding.kept_features(
            clip, paths, work, folder=kept, batch_size=params.batch_size, device=device
        )[0] if paths else torch.zeros(0, 1)  # fmt: skip
        texts = encoding.text_features(clip, list(place), batch_size=params.batch_size, device=device) if place else images  # fmt: skip
        chosen = completion.choose(gaps, F.normalize(images, dim=1), texts, place, scale=params.scale)  # fmt: skip
    frame = pd.DataFrame(
        {
            "image": [records[i].image for i in cars],
            "caption": [records[i].caption for i in cars],
            "missing": [" and ".join(gap.missing) for gap in gaps],
            "completed": [one.text for one in chosen],
            "probability": [one.probability for one in chosen],
            "margin": [one.margin for one in chosen],
        }
    )
    unread = frame["missing"] == completion.UNREAD
    frame["kept"] = (frame["missing"] != "") & ~unread & (frame["margin"] >= params.least_margin)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    # By a schema: an empty column would have no type.
    pq.write_table(pa.Table.from_pandas(frame, completion.WRITTEN, preserve_index=False), OUT)
    if unread.any():
        print(f"complete: {unread.sum():,} captions say more than the inventory knows, and stay as they are, such as {frame['caption'][unread].iloc[0]!r}")  # fmt: skip
    print(f"complete: {int(frame['kept'].sum()):,} of {len(frame):,} cars filled in, {len(place):,} candidates encoded once -> {OUT}")  # fmt: skip


if __name__ == "__main__":
    stage(main)
