"""Soups of fine-tuned epochs: all of them, and those that help on validation."""

from pathlib import Path

import torch

from clipworks.clip import backbone
from clipworks.kit import runtime, tables
from clipworks.kit.checkpoint import clear, scratch_folder
from clipworks.kit.cli import stage
from clipworks.kit.files import state
from clipworks.kit.params import load
from clipworks.retrieval import parsed, soups, squares, validation
from clipworks.retrieval.params import Base, Prepare, Search, Soup

FINETUNED = Path("models/finetune")
RECORDS = Path("data/parse/val.parquet")
OUT = Path("models/soup")
TRIED = Path("data/soup/tried.json")


def main() -> None:
    """Write both soups as models, and what the greedy one tried."""
    base, params = load("base", Base), load("soup", Soup)
    device = runtime.pick_device(base.device)
    files = [f for name in params.variants for f in sorted((FINETUNED / name).glob("epoch_*.safetensors"))]  # fmt: skip
    clip = backbone.load(FINETUNED / params.variants[0])
    told = FINETUNED / params.variants[0] / backbone.CONFIG
    config, (records, pictures) = backbone.read_config(told), parsed.read(RECORDS)
    prefix, batch_size = load("prepare", Prepare).prefix, load("search", Search).batch_size
    square = clip.resize_mode == squares.mode(True)
    judge = validation.judge(records, pictures, prefix=prefix, square=square, batch_size=batch_size, device=device)  # fmt: skip
    about = [prefix, batch_size, *map(state, pictures)]
    scratch = scratch_folder("soup", about, [*files, told, RECORDS])
    like = {name: torch.empty_like(value, device="meta") for name, value in clip.model.state_dict().items()}  # fmt: skip

    def value(weights: soups.State) -> float:
        clip.model.load_state_dict(soups.like(weights, like))
        return judge(clip)

    loads = [lambda file=file: soups.read(file, like) for file in files]
    with runtime.measured("soup", device):
        asked = soups.remembered(value, scratch / "values.json")
        alone = [asked(load()) for load in loads]
        members, tried = soups.greedy(loads, alone, asked)
        for name, chosen in (("greedy", [loads[i] for i in members]), ("uniform", loads)):
            found = value(soups.uniform(chosen))
            backbone.save(OUT / name, clip.model, config["model_cfg"], config["preprocess_cfg"])
            print(f"soup: {name} of {len(files)} epochs, validation mAP@10 {100 * found:.1f}")
    names = [f"{file.parent.name}/{file.stem}" for file in files]
    tables.write_json(TRIED, {
        "alone": dict(zip(names, alone, strict=True)), "members": [names[i] for i in members],
        "tried": [{**vars(one), "member": names[one.member]} for one in tried],
    })  # fmt: skip
    clear(scratch)
    print(f"soup: the greedy one keeps {', '.join(names[i] for i in members)} -> {OUT}")


if __name__ == "__main__":
    stage(main)
