"""`clipworks classify` and `clipworks submissions compare`."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from clipworks.kit.places import make_place, page_beside

submissions = typer.Typer(
    no_args_is_help=True, help="Submission files of a contest (id_idx,label)."
)


class Device(str, Enum):
    """Where towers run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


def classify(
    folder: Annotated[Path, typer.Argument(help="pictures, also in sub-folders")],
    classes: Annotated[str, typer.Option(help="names as a,b,c, or a file with one a line")],
    out: Annotated[Path, typer.Option(help="a table: .csv, .parquet or .json; the page beside it")],
    models: Annotated[
        str, typer.Option(help="NAME:TAG of open_clip, NAME:FILE, or a folder; several by commas")
    ] = "ViT-B-32:openai",
    prompts: Annotated[
        Path | None, typer.Option(help="a prompts file, as in solutions/scenes/data/templates")
    ] = None,
    sharpen: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="for blurred pictures; 1 changes nothing")
    ] = 1.0,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    device: Annotated[Device, typer.Option()] = Device.auto,
) -> None:
    """Classify a folder of pictures by class names alone: a table of probabilities, and a page."""
    from clipworks.kit.cli import run

    def main() -> None:
        from clipworks.clip import pretrained
        from clipworks.clip.hand import imagenet_templates
        from clipworks.kit import runtime
        from clipworks.scenes import classify as work
        from clipworks.scenes import page
        from clipworks.scenes import prompts as sets
        from clipworks.scenes.folder import found_in

        chosen = runtime.pick_device(device.value, key="--device")
        make_place(out, work.TABLES)
        site = page_beside(out)
        names, words = work.class_list(classes), work.model_list(models)
        file = work.PLAIN if prompts is None else sets.read_file(prompts)
        built = sets.build(file, names, imagenet_templates("{}"), name=str(prompts))
        if bare := sets.without_sentences(file, names):
            typer.echo(f"note: {', '.join(bare)} have no sentences of their own, others have")
        pictures = found_in(folder)
        found = work.classify(
            folder, pictures, [pretrained.named(word) for word in words], built,
            sharpen=sharpen, batch_size=batch_size, device=chosen,
        )  # fmt: skip
        frame = found.frame()
        work.write(out, frame)
        page.page(site, frame, folder, models=models)
        typer.echo(
            f"{len(found.pictures):,} pictures, {len(found.bad)} that could not be read "
            f"-> {out}, {site}"
        )
        for name, why in list(found.bad.items())[:10]:
            typer.echo(f"bad: {name}: {why}")

    run(main)


@submissions.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="two or more submissions, the newest last")],
    out: Annotated[Path, typer.Option(help="a folder")] = Path("comparison"),
) -> None:
    """Agreement of every pair (also as a picture), repeats, outliers, and the majority's vote."""
    from clipworks.kit.cli import run

    def main() -> None:
        from clipworks.scenes import comparison

        found, text = comparison.compare(files, out)
        typer.echo(found.to_markdown(index=False))
        typer.echo(f"{text} -> {out}")

    run(main)
