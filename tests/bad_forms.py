"""Outputs that are whole files of another form than their stage wrote: edited by hand, or another's."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bad_world import World, wrong
from safetensors.numpy import save_file

STORED = ("data/infer", "data/train", "data/cooccurrence", "data/world")
ENCODED = ("data/encode_captions", "data/hard_groups", "models/backbone")
NOT_SO = r"is not as its stage wrote it"


def other(path: Path, content: Any) -> None:
    """Another whole file in a file's place."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"a": [1, 2]}), path)
    elif path.suffix == ".safetensors":
        save_file({"a": np.zeros((2, 2), np.float32)}, path)
    elif path.suffix == ".npy":
        np.save(path, np.zeros((3, 2), np.float32))
    else:
        path.write_text(content)


@wrong("combinations that are nothing", rf"compose/combinations\.json {NOT_SO} \(its content: .*list",
       stage="caption", needs=["data/compose"], path="data/compose/combinations.json", content="null")  # fmt: skip
@wrong("a table of captions with other columns", r"filter/captions\.parquet has no column b?'source'",
       stage="cooccurrence", needs=["data/filter"], path="data/filter/captions.parquet")  # fmt: skip
@wrong("a table of replies with other columns", r"caption/replies\.parquet has no columns \['finish', 'na",
       stage="filter", needs=["data/caption"], path="data/caption/replies.parquet")  # fmt: skip
@wrong("captions to encode with other columns", r"filter/captions\.parquet has no columns \['caption'",
       stage="encode_captions", needs=["data/filter", "data/compose", "models/backbone"],
       path="data/filter/captions.parquet")  # fmt: skip
@wrong("groups that are a list", rf"hard_groups/groups\.json {NOT_SO} \(its content: .*dict",
       stage="train@base", needs=ENCODED, path="data/hard_groups/groups.json", content="[]")  # fmt: skip
@wrong("features of another file", r"tokens\.npy and offsets\.npy do not fit together; run `dvc repro enc",
       stage="train@base", needs=ENCODED, path="data/encode_captions/offsets.npy")  # fmt: skip
@wrong("weights of another model", r"backbone models/backbone: open_clip_model\.safetensors does not fit",
       stage="train@base", needs=ENCODED, path="models/backbone/open_clip_model.safetensors")  # fmt: skip
@wrong("prompts that are none", r"base/prompts\.safetensors holds no prompts; train them again",
       stage="infer@crops", needs=[*ENCODED, "data/world", "data/compose", "models/train"],
       path="models/train/base/prompts.safetensors")  # fmt: skip
@wrong("a manifest that is a number", rf"infer/crops/validation/manifest\.json {NOT_SO}", stage="ensemble",
       needs=STORED, path="data/infer/crops/validation/manifest.json", content="3")  # fmt: skip
@wrong("a manifest of half", rf"maps/test/manifest\.json {NOT_SO} \(shards\.0\.images: Field required",
       stage="ensemble", needs=STORED, path="data/infer/maps/test/manifest.json",
       content='{"models": [], "classes": [], "shards": [{"file": "a"}]}')  # fmt: skip
@wrong("windows of another file", r"crops/test/00000\.safetensors does not hold what it should",
       stage="ensemble", needs=STORED, path="data/infer/crops/test/00000.safetensors")  # fmt: skip
@wrong("held-out figures that are none", rf"ema/held_out\.json {NOT_SO} \(class_ap: Field required\)",
       stage="ensemble", needs=STORED, path="data/train/ema/held_out.json", content="{}")  # fmt: skip
@wrong("a list of images without images", rf"world/test\.json {NOT_SO} \(images: Field required\); `dvc ch",
       stage="ensemble", needs=STORED, path="data/world/test.json", content='{"folder": "a"}')  # fmt: skip
def _(world: World, stage: str, needs: list[str], path: str, content: str = "") -> None:
    world.take(*needs)
    other(Path(path), content)
    world.stage(stage)


@wrong(
    "no annotations of the test split",
    r"annotations/test\.json does not exist; run `dvc repro world`",
)
def _(world: World) -> None:
    world.take(*STORED, "data/ensemble", "metrics")
    Path("data/world/annotations/test.json").unlink()
    world.stage("evaluate")


@wrong(
    "captions that no chat model wrote",
    r"holds no caption that a chat model wrote; run `dvc repro filt",
)
def _(world: World) -> None:
    from clipworks.kit.classes import read_classes
    from clipworks.tuning.captions import CaptionTable

    world.take("data/encode_captions", "data/classes")
    path = Path("data/encode_captions/captions.parquet")
    table = pq.read_table(path)
    pq.write_table(table.filter(pa.compute.equal(table["source"], "templates")), path)
    CaptionTable(path, read_classes(Path("data/classes/miniature.txt"))).generated_texts()
