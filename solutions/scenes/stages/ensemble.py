"""Class probabilities of every row of the table, from what the models said."""

from dataclasses import asdict
from pathlib import Path

from clipworks.kit import tables
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.kit.tensors import save_file
from clipworks.scenes import choice, folder, rows
from clipworks.scenes.cache import Cache
from clipworks.scenes.params import Ensemble
from clipworks.scenes.prompts import PromptSet
from clipworks.scenes.recipes import Recipe

WORLD = Path("data/world")
PROMPTS = Path("data/prompts/prompts.json")
PROBABILITIES = Path("data/probabilities")
OUT = Path("data/ensemble")
SPLITS = ("validation", "test")


def main() -> None:
    """Write the rows' probabilities, the rows themselves, and what each label-free rule chose."""
    params, prompts = load("ensemble", Ensemble), PromptSet.load(PROMPTS)
    test = Cache(PROBABILITIES, "test", params.weights)
    chosen = choice.without_labels(params, test, prompts)
    listed = rows.rows(params, chosen)
    for split in SPLITS:
        images = tables.read_json(WORLD / f"{split}.json", folder.Pictures)["images"]
        if images:
            scored, skipped = rows.score(
                listed, Cache(PROBABILITIES, split, params.weights), prompts
            )
            rows.check_labels(scored, images)
            OUT.mkdir(parents=True, exist_ok=True)
            save_file(scored, str(OUT / f"{split}.safetensors"))
    about = {row.name: {"what": row.what, "against": row.against} for row in listed}
    tables.write_json(OUT / "rows.json", {"rows": about, "skipped": skipped, "steps": params.steps})
    chosen = {"fixed": Recipe.of(params), **chosen}
    tables.write_json(OUT / "choices.json", {rule: asdict(one) for rule, one in chosen.items()})
    print(f"ensemble: {len(scored)} rows of {len(images):,} test pictures, {len(skipped)} skipped -> {OUT}")  # fmt: skip


if __name__ == "__main__":
    stage(main)
