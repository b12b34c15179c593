"""Soups of fine-tuned epochs: all of them, and those that help on validation."""

from pathlib import Path

import torch

from clipworks.clip import backbone
from clipworks.kit import runtime, tables
from clipworks.kit.cli import stage
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
    config = backbone.read_config(FINETUNED / params.variants[0] / backbone.CONFIG)
    judge = validation.judge(
        *parsed.read(RECORDS), prefix=load("prepare", Prepare).prefix, square=clip.resize_mode == squares.mode(True),
        batch_size=load("search", Search).batch_size, device=device,
    )  # fmt: skip
    like = {name: torch.empty_like(value, device="meta") for name, value in clip.model.state_dict().items()}  # fmt: skip

    def value(state: soups.State) -> float:
        clip.model.load_state_dict(soups.like(state, like))
        return judge(clip)

    loads = [lambda file=file: soups.read(file, like) for file in files]
    with runtime.measured("soup", device):
        alone = [value(load()) for load in loads]
        members, tried = soups.greedy(loads, alone, value)
        for name, chosen in (("greedy", [loads[i] for i in members]), ("uniform", loads)):
            found = value(soups.uniform(chosen))
            backbone.save(OUT / name, clip.model, config["model_cfg"], config["preprocess_cfg"])
            print(f"soup: {name} of {len(files)} epochs, validation mAP@10 {100 * found:.1f}")
    names = [f"{file.parent.name}/{file.stem}" for file in files]
    tables.write_json(TRIED, {
        "alone": dict(zip(names, alone, strict=True)), "members": [names[i] for i in members],
        "tried": [{**vars(one), "member": names[one.member]} for one in tried],
    })  # fmt: skip
    print(f"soup: the greedy one keeps {', '.join(names[i] for i in members)} -> {OUT}")


if __name__ == "__main__":
    stage(main)
