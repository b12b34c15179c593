"""Wrong things that stages find: outputs of other runs, half files, full disks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from bad_world import World, wrong
from safetensors.numpy import load_file, save_file

from clipworks.fusion import leaderboard

# Outputs of other runs

OTHER = r"of another class list: only there \[.*\], only here \[.*\]; run `dvc repro"
STORED = ("data/infer", "data/train", "data/cooccurrence", "data/world")
ENCODED = ("data/encode_captions", "data/hard_groups", "models/backbone")


@wrong("captions of other classes", rf"data/filter/captions\.parquet is {OTHER} filter",
       stage="cooccurrence", needs=["data/filter"])  # fmt: skip
@wrong("encoded captions of other classes", rf"encode_captions/captions\.parquet is {OTHER} encode_capt",
       stage="train@base", needs=ENCODED)  # fmt: skip
@wrong("logits of other classes", rf"data/infer/crops/validation is {OTHER} infer",
       stage="ensemble", needs=STORED)  # fmt: skip
@wrong("an ensemble of other classes", rf"data/ensemble/validation\.safetensors is {OTHER} ensemble",
       stage="evaluate", needs=[*STORED, "data/ensemble"])  # fmt: skip
def _(world: World, stage: str, needs: list[str]) -> None:
    world.take(*needs)
    world.other_classes(lambda names: [name for name in names if name != "spoon"])
    world.set({"caption.challenge_classes": []})
    world.stage(stage)


@wrong(
    "logits of the classes in another order",
    r"of another class list: the same classes in another order; run `dvc repro infer",
)
def _(world: World) -> None:
    world.take(*STORED)
    world.other_classes(lambda names: names[::-1])
    world.stage("ensemble")


@wrong(
    "a matrix of other classes", rf"data/cooccurrence/matrix\.safetensors is {OTHER} cooccurrence"
)
def _(world: World) -> None:
    world.take(*STORED)
    path = "data/cooccurrence/matrix.safetensors"
    save_file(load_file(path), path, metadata={"class_names": json.dumps(["dog", "cat"])})
    world.stage("ensemble")


@wrong("held-out figures of other classes", r"data/train/ema/held_out\.json says nothing of \['spoon'\]"
       r"; run `dvc repro train@ema`")  # fmt: skip
def _(world: World) -> None:
    world.take(*STORED)
    path = Path("data/train/ema/held_out.json")
    world.put(path.as_posix(), path.read_text().replace('"spoon"', '"ladle"'))
    world.stage("ensemble")


@wrong(
    "captions of another CLIP", r"data/encode_captions is of another backbone; run `dvc repro enc"
)
def _(world: World) -> None:
    world.take(*ENCODED)
    np.save("data/encode_captions/tokens.npy", np.load("data/encode_captions/tokens.npy")[:, :16])
    world.stage("train@base")


@wrong("prompts of other classes", r"prompts \S+ were tuned for another class list: only there \[.*\], "
       r"only here \['unicorn'\]", names=["unicorn", "dog"], width=32)  # fmt: skip
@wrong("prompts of another CLIP", r"prompts \S+ have width 32, the text tower of \S+ has 48; they belong",
       names=None, width=48)  # fmt: skip
def _(world: World, names: list[str] | None, width: int) -> None:
    from clipworks.clip import backbone
    from clipworks.tuning import prompts

    folder = world.finished / "models/backbone"
    config = json.loads((folder / backbone.CONFIG).read_text())
    config["model_cfg"]["text_cfg"]["width"] = width
    backbone.save(Path("b"), backbone.new(config["model_cfg"], seed=0), *config.values())
    prompts.load(
        world.finished / "models/train/base/prompts.safetensors", backbone.load(Path("b")), names
    )


@wrong(
    "a start of another shape", r"start 'train/ema': its contexts have shapes .*make contexts and"
)
def _(world: World) -> None:
    world.take(*ENCODED, "models/train")
    world.set({"train.zema.contexts": 8})
    world.stage("train@zema")


@wrong("half of a file of prompts", r"prompts\.safetensors is no whole safetensors file .*run the stage",
       path="models/train/base/prompts.safetensors")  # fmt: skip
@wrong("half of the CLIP", r"models/backbone/open_clip_model\.safetensors is no whole safetensors file",
       path="models/backbone/open_clip_model.safetensors")  # fmt: skip
@wrong("half of the CLIP's config", r"models/backbone/open_clip_config\.json, line \d+, column \d+: no",
       path="models/backbone/open_clip_config.json")  # fmt: skip
def _(world: World, path: str) -> None:
    from clipworks.clip import backbone
    from clipworks.tuning import prompts

    world.take("models/backbone", "models/train")
    world.cut(path)
    clip = backbone.load(Path("models/backbone"))
    prompts.load(Path("models/train/base/prompts.safetensors"), clip)


@wrong(
    "a tagger of other windows than its thresholds",
    r"was made with other scales than infer\.scales \[3\]",
)
def _(world: World) -> None:
    from clipworks.tagging import export

    world.take(*STORED, "data/ensemble", "models")
    world.set({"infer.scales": [3]})
    export.from_pipeline()


@wrong(
    "no replies to filter",
    r"data/caption/replies\.parquet does not exist; run the stage that writes",
)
def _(world: World) -> None:
    try:
        world.stage("filter")
    finally:
        assert not (world.folder / "data/filter").exists()


@wrong(
    "no captions of the sources",
    r"no caption is of cooccurrence\.sources \['challenge'\]; choose other",
)
def _(world: World) -> None:
    world.take("data/filter")
    world.set({"cooccurrence.sources": ["challenge"]})
    table = pq.read_table("data/filter/captions.parquet")
    some = table.filter(pc.not_equal(table["source"], "challenge"))
    pq.write_table(some, "data/filter/captions.parquet")
    world.stage("cooccurrence")


@wrong(
    "no ensemble yet",
    r"data/ensemble/test_images\.json does not exist; run the stage that writes it",
)
def _(world: World) -> None:
    world.take(*STORED)
    world.stage("evaluate")


@wrong("half of the encoded captions", r"encode_captions/tokens\.npy is no whole file .*run the stage",
       path="data/encode_captions/tokens.npy", stage="train@base")  # fmt: skip
@wrong("half of a list of images", r"data/world/test\.json, line \d+, column \d+: no valid JSON",
       path="data/world/test.json", stage="ensemble")  # fmt: skip
@wrong("half of a table of captions", r"data/filter/captions\.parquet is no whole parquet file .*run",
       path="data/filter/captions.parquet", stage="cooccurrence")  # fmt: skip
@wrong("half of a table of replies", r"data/caption/replies\.parquet is no whole parquet file .*run the",
       path="data/caption/replies.parquet", stage="filter")  # fmt: skip
@wrong("half of a shard of logits", r"data/infer/crops/test/00000\.safetensors is no whole safetensors file",
       path="data/infer/crops/test/00000.safetensors", stage="ensemble")  # fmt: skip
@wrong("half of the ensemble's logits", r"data/ensemble/test\.safetensors is no whole safetensors file",
       path="data/ensemble/test.safetensors", stage="evaluate")  # fmt: skip
def _(world: World, path: str, stage: str) -> None:
    world.take(*STORED, *ENCODED, "data/filter", "data/caption", "data/ensemble")
    world.cut(path)
    world.stage(stage)


@wrong("a stage that has not run", r"data/caption/replies\.parquet does not exist; run the stage that",
       stage="filter")  # fmt: skip
@wrong("logits that are not there", r"data/infer/crops/validation has no manifest\.json; run `dvc repro infer`",
       stage="ensemble")  # fmt: skip
@wrong("a CLIP that is not there", r"backbone models/backbone lacks open_clip_config\.json; `dvc repro",
       stage="infer@crops")  # fmt: skip
def _(world: World, stage: str) -> None:
    world.stage(stage)


@wrong("more bad images than are allowed", r"12\.50% of the images are bad, infer\.max_bad_share allows "
       r"1\.00%; data/infer/crops/bad_images\.json lists them with their reasons")  # fmt: skip
def _(world: World) -> None:
    from clipworks.windows import shards

    bad = {"test": {"a.png": "no image"}}
    shards.report_bad(bad, 8, 0.01, Path("data/infer/crops/bad_images.json"))


@wrong(
    "no image that can be read",
    r"data/infer/crops/test holds no image; data/infer/crops/bad_images\.json says why",
)
def _(world: World) -> None:
    world.take(*STORED)
    path = Path("data/infer/crops/test/manifest.json")
    world.put(path.as_posix(), {**json.loads(path.read_text()), "shards": []})
    world.stage("ensemble")


@wrong(
    "too few held-out captions",
    r"hard_groups\.size 2: 3 groups need 6 classes with held-out captions, there are 5; make it smaller",
)
def _(world: World) -> None:
    from clipworks.tuning import hard

    hard.groups(list("abcdefg"), np.array([0.5] * 5 + [np.nan] * 2), size=2)


@wrong("more contexts than the text tower has room", r"a prompt of 75 contexts and the class '[\w ]+' "
       r"takes \d+ tokens, the text tower of \S+ has 77; use at most \d+ contexts",
       changes={"contexts": 75})  # fmt: skip
@wrong("words that are not as many as contexts", r"init_words 'a photo' has 2 tokens, but contexts is 4",
       changes={"init_words": "a photo"})  # fmt: skip
@wrong("nothing to train on", r"sources \['companions'\]: no caption is left to train on",
       changes={"sources": ["companions"]})  # fmt: skip
@wrong("classes that no training caption names", r"no training caption names \[.*\]: add a source to",
       changes={"sources": ["multi"]})  # fmt: skip
@wrong("a learning rate that bursts", r"is no finite number any more: lower schedule\.lr \(1e\+06\)",
       changes={"schedule.lr": 1e6, "weight_decay": 1e6, "batch_size": 64})  # fmt: skip
def _(world: World, changes: dict[str, Any]) -> None:
    world.take(*ENCODED)
    world.set({f"train.base.{key}": value for key, value in changes.items()})
    world.stage("train@base")


@wrong(
    "logits that were no numbers when they were stored",
    r"infer stored logits of hand that are no finite numbers \(images from \S+ on\): infer\.store float32",
)
def _(world: World) -> None:
    world.take(*STORED)
    made = leaderboard.Stored.of
    world.patch.setattr(leaderboard.Stored, "of", lambda *some: made(*some) * float("inf"))
    world.stage("ensemble")


@wrong(
    "weights of an ensemble that no number holds",
    r"ensemble: logits of .* are beyond what float32 holds",
)
def _(world: World) -> None:
    world.take(*STORED)
    # Weights at their limits do so to the logits of a CLIP that is surer than this one.
    made = leaderboard.model_logits
    world.patch.setattr(leaderboard, "model_logits", lambda *some: made(*some) * 1e39)
    world.stage("ensemble")
