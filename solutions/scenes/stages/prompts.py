"""The prompts of every class: templates filled in, and sentences of its own."""

from pathlib import Path

from clipworks.clip.hand import imagenet_templates
from clipworks.kit import tables
from clipworks.kit.cli import stage
from clipworks.kit.params import load
from clipworks.scenes import folder, prompts
from clipworks.scenes.params import Prompts

TEST = Path("data/world/test.json")
OUT = Path("data/prompts")


def main() -> None:
    """Write every prompt with its class and group, and how many each class has of each."""
    params = load("prompts", Prompts)
    classes = tables.read_json(TEST, folder.Pictures)["classes"]
    file = prompts.read_file(Path(params.file))
    built = prompts.build(file, classes, imagenet_templates("{}"), name=params.file)
    built.write(OUT / "prompts.json")
    tables.write_json(OUT / "counts.json", built.counts())
    if bare := prompts.without_sentences(file, classes):
        print(f"prompts: {', '.join(bare)} have no sentences of their own, others have")
    print(f"prompts: {len(built.texts):,} for {len(classes)} classes -> {OUT}")


if __name__ == "__main__":
    stage(main)
