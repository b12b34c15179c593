"""One variant of the CLIP, fine-tuned: `python -m stages.finetune soft`."""

import shutil
from pathlib import Path

from safetensors.torch import load_file

from clipworks.clip import backbone
from clipworks.kit import checkpoint, runtime, tables
from clipworks.kit.cli import stage
from clipworks.kit.files import state
from clipworks.kit.params import load
from clipworks.retrieval import dataset, parsed, squares, validation
from clipworks.retrieval.finetuning import Finetuning
from clipworks.retrieval.params import Base, Finetune, Prepare

BACKBONE = Path("models/backbone")
TABLES = Path("data/prepare")
TRAIN = Path("data/parse/train.parquet")
RECORDS = Path("data/parse/val.parquet")
OUT = Path("models/finetune")
LOGS = Path("data/finetune")


def main(name: str = "") -> None:
    """Write the chosen epoch's model, all epochs' weights where they are kept, and the curve."""
    base, params = load("base", Base), load(f"finetune.{name}", Finetune)
    device = runtime.pick_device(base.device)
    table, judged = TABLES / f"{params.captions}.csv", parsed.read(RECORDS)
    pairs = [(Path(file), title) for file, title in dataset.read_pairs(table)]
    alike = validation.alike(pairs, *parsed.read(TRAIN), params.targets)
    stats = [state(path) for path in (*(path for path, _ in pairs), *judged[1])]
    about, inputs = [base.seed, params.model_dump(), stats], [table, TRAIN, RECORDS]
    scratch = checkpoint.scratch_folder(f"finetune/{name}", about, [*inputs, *backbone.files(BACKBONE)])  # fmt: skip
    with runtime.measured(f"finetune_{name}", device):
        clip = backbone.load(BACKBONE)
        judge = validation.judge(
            *judged, prefix=load("prepare", Prepare).prefix, square=params.square,
            batch_size=params.batch_size, device=device,
        )  # fmt: skip
        work = Finetuning(
            clip, pairs, params, alike=alike, seed=base.seed, judge=judge, scratch=scratch, label=name,
            accelerator=runtime.accelerator(device, params.precision),
        )  # fmt: skip
        progress = work.run()
    if not work.is_main:
        return
    clip.model.load_state_dict(load_file(str(work.checkpoint(progress.best_epoch))))
    config = backbone.read_config(BACKBONE / backbone.CONFIG)
    preprocess = {**config["preprocess_cfg"], "resize_mode": squares.mode(params.square)}
    backbone.save(OUT / name, clip.model, config["model_cfg"], preprocess)
    for epoch in range(params.stop) if params.keep_epochs else ():
        file = work.checkpoint(epoch)
        shutil.copyfile(file, OUT / name / file.name)
    header = list(progress.history[0])
    tables.write_tsv(LOGS / f"{name}.tsv", header, [list(row.values()) for row in progress.history])
    checkpoint.clear(scratch)
    print(f"finetune: {name}, epoch {progress.best_epoch + 1} of {params.stop} with a validation mAP@10 of {100 * progress.best_map:.1f} -> {OUT / name}")  # fmt: skip


if __name__ == "__main__":
    stage(main)
