"""Outputs that are whole files of another form than their stage wrote: edited by hand, or another's."""

import json
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
@wrong("replies to filter with other columns", r"caption/replies\.parquet has no columns \['caption', 'fin",
       stage="filter", needs=["data/caption"], path="data/caption/replies.parquet")  # fmt: skip
@wrong("captions to encode with other columns", r"filter/captions\.parquet has no columns \['caption'",
       stage="encode_captions", needs=["data/filter", "data/compose", "models/backbone"],
       path="data/filter/captions.parquet")  # fmt: skip
@wrong("groups that are a list", rf"hard_groups/groups\.json {NOT_SO} \(its content: .*dict",
       stage="train@base", needs=ENCODED, path="data/hard_groups/groups.json", content="[]")  # fmt: skip
@wrong("features of another file", r"tokens\.npy and offsets\.npy do not fit together; run `dvc repro enc",
       stage="train@base", needs=ENCODED, path="data/encode_captions/offsets.npy")  # fmt: skip
@wrong("weights of another CLIP in its place", r"backbone models/backbone: open_clip_model\.safetensors does not fit",
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
    r"annotations/test\.json does not exist, or is empty; run",
)
def _(world: World) -> None:
    world.take(*STORED, "data/ensemble", "metrics")
    Path("data/world/annotations/test.json").unlink()
    world.stage("evaluate")


@wrong(
    "annotations of no bytes", r"annotations/validation\.json does not exist, or is empty; run `dvc"
)
def _(world: World) -> None:
    world.take(*STORED, "data/ensemble", "metrics")
    Path("data/world/annotations/validation.json").write_bytes(b"")
    world.stage("evaluate")


@wrong(
    "no model to go on from", r"models/train/ema/prompts\.safetensors does not exist; run the stage"
)
def _(world: World) -> None:
    world.take(*ENCODED)
    world.stage("train@zema")


@wrong(
    "weights that are no numbers",
    r"models/backbone: weights are no finite numbers: .* in all\)",
    change="nan",
)
@wrong("a CLIP of another width than its config's", r"does not fit open_clip_config\.json: Error\(s\) in .*: \S",
       change="width")  # fmt: skip
@wrong("a mean of two colours", r"preprocess_cfg\.mean is \[0, 0\]; it needs three numbers",
       change={"mean": [0, 0]})  # fmt: skip
@wrong(
    "a mean of none", r"preprocess_cfg\.mean is None; it needs three numbers", change={"mean": None}
)
@wrong(
    "a size in words", r"preprocess_cfg\.size is 'x'; it needs whole pixels", change={"size": "x"}
)
@wrong("pictures of another size than the tower's",
       r"preprocess_cfg\.size is \(7, 7\), and vision_cfg\.image_size is \d+; make them equal",
       change={"size": [7, 7]})  # fmt: skip
@wrong("a CLIP of pictures that are no squares", r"vision_cfg\.image_size is \[64, 32\]; pictures must be square",
       change={"vision": [64, 32]})  # fmt: skip
@wrong("a way to resize that there is not", r"preprocess_cfg\.resize_mode is 'fit'; it needs shortest, longest",
       change={"resize_mode": "fit"})  # fmt: skip
@wrong(
    "a config with a key of its own",
    r"does not fit open_clip_config\.json: .*'bogus'",
    change="bogus",
)
def _(world: World, change: str | dict) -> None:
    from safetensors.numpy import load_file

    from clipworks.clip import backbone

    world.take("models/backbone")
    weights, config = (
        Path("models/backbone") / name for name in (backbone.WEIGHTS, backbone.CONFIG)
    )
    about = json.loads(config.read_text())
    if change == "nan":
        save_file(
            {
                k: np.asarray(v * np.float32("nan") if v.dtype.kind == "f" else v)
                for k, v in load_file(weights).items()
            },
            weights,
        )
    elif change == "width":
        about["model_cfg"]["embed_dim"] *= 2
    elif isinstance(change, dict) and "vision" in change:
        about["model_cfg"]["vision_cfg"]["image_size"] = change["vision"]
    elif isinstance(change, dict):
        about["preprocess_cfg"] |= change
    else:
        about["model_cfg"]["bogus"] = 1
    config.write_text(json.dumps(about))
    backbone.load(Path("models/backbone"))


@wrong("a reply file of brackets", r"r/a\.json is nested too deeply, or", content="[" * 100_000)
@wrong(
    "a number of 5,000 digits",
    r"r/a\.json is nested too deeply, or holds a number with too many digits \(Exceeds the limit",
    content=f"[{'9' * 5_000}]",
)
def _(world: World, content: str) -> None:
    from clipworks.kit.files import read_json

    read_json(world.put("r/a.json", content))


@wrong(
    "captions that no chat model wrote",
    r"holds no caption that a chat model wrote; run `dvc repro filt",
)
def _(world: World) -> None:
    from clipworks.kit.classes import read_classes
    from clipworks.tuning.captions import CaptionTable

    world.take("data/encode_captions")
    path = Path("data/encode_captions/captions.parquet")
    table = pq.read_table(path)
    pq.write_table(table.filter(pa.compute.equal(table["source"], "templates")), path)
    CaptionTable(path, read_classes(Path("data/classes/miniature.txt"))).generated_texts()
