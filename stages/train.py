"""Tune one model's prompts on captions: `python -m stages.train base`."""

from pathlib import Path

from clipworks.clip import backbone
from clipworks.clip.features import CaptionFeatures
from clipworks.kit import checkpoint, runtime, tables
from clipworks.kit.classes import read_classes
from clipworks.kit.cli import stage
from clipworks.kit.errors import InputError
from clipworks.kit.params import Base, load
from clipworks.tuning import result, selection, training
from clipworks.tuning.captions import CaptionTable
from clipworks.tuning.params import TrainModel

BACKBONE = Path("models/backbone")
CAPTIONS = Path("data/encode_captions")
GROUPS = Path("data/hard_groups/groups.json")
TUNED = Path("models/train")
CURVES = Path("data/train")


def main(model: str = "") -> None:
    """Write models/train/<model> (prompts) and data/train/<model> (curves, held-out AP)."""
    base, params = load("base", Base), load(f"train.{model}", TrainModel)
    names = read_classes(Path(base.classes))
    table = CaptionTable(CAPTIONS / "captions.parquet", names)
    groups = tables.read_json(GROUPS, dict[str, list[str]])
    data = selection.select(table, CaptionFeatures(CAPTIONS), params, groups)
    clip = backbone.load(BACKBONE)
    if data.features.dim != selection.joint_dim(clip.model):
        raise InputError(f"{CAPTIONS} is of another backbone; run `dvc repro encode_captions`")
    accelerator = runtime.accelerator(runtime.pick_device(base.device), params.precision)
    start = TUNED / params.start.removeprefix("train/") / "prompts.safetensors"
    inputs = [*CAPTIONS.iterdir(), *backbone.files(BACKBONE), GROUPS]
    inputs += [start] if params.start != "backbone" else []
    about = params.model_dump(), base.seed, names
    scratch = checkpoint.scratch_folder(f"train/{model}", about, inputs)
    with runtime.measured(f"train_{model}", accelerator.device) as facts:
        tuned = training.Tuning(
            lambda: selection.begin(clip, names, params, start, seed=base.seed),
            clip.model,
            data,
            params,
            seed=base.seed,
            accelerator=accelerator,
            scratch=scratch,
            label=f"train {model}",
        ).run()
        facts["steps"] = tuned.steps
    if accelerator.is_main_process:
        tuned.prompts.save(TUNED / model / "prompts.safetensors", settings=params.model_dump())
        found = result.write(tuned, names, CURVES / model)
        checkpoint.clear(scratch)
        print(f"train: {model}: held-out mAP {found['held_out_mAP']}, epoch {found['epoch']}")


if __name__ == "__main__":
    stage(main)
