"""`clipworks tag`, `export` and `classes`."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from clipworks.kit.errors import InputError
from clipworks.kit.files import printable
from clipworks.kit.places import make_place

TAGGER = Path("models/tagger.safetensors")
TEMPLATES = "80 templates, no training"


class Engine(str, Enum):
    """What spreads the work."""

    local = "local"
    ray = "ray"


class Precision(str, Enum):
    """Of the tower's arithmetic."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Rule(str, Enum):
    """How thresholds come from the validation images."""

    auto = "auto"
    labels = "labels"
    range = "range"


def tag(
    images: Annotated[
        list[str], typer.Argument(help="folders, files, patterns, tar shards or parquet tables")
    ],
    out: Annotated[Path, typer.Option(help="a table: .parquet, .csv or .json; a page beside it")],
    tagger: Annotated[Path | None, typer.Option(help="what `clipworks export` wrote")] = None,
    classes: Annotated[
        Path | None,
        typer.Option(help="instead of a tagger: class names, one a line; nothing is trained"),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="NAME:TAG of open_clip, NAME:FILE of weights, or a folder")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="whole images alone, no windows")] = False,
    full: Annotated[bool, typer.Option("--full", help="every window encoded alone, slow")] = False,
    tags_per_image: Annotated[
        float | None, typer.Option(help="expected mean number; thresholds then follow these images")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    precision: Annotated[
        Precision,
        typer.Option(help="bf16 and fp16 are faster where the device computes in them: GPUs"),
    ] = Precision.fp32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    engine: Annotated[
        Engine, typer.Option(help="ray: many machines (pip install 'ray\\[data]')")
    ] = Engine.local,
    workers: Annotated[
        int | None, typer.Option(min=1, help="of ray, each with the model; 2 unless told")
    ] = None,
) -> None:
    """Tag images: a table with each tag's probability and window, and a page to look at.

    Finished parts lie beside the table until it is whole: after a kill the same command goes on.
    """
    from clipworks.kit.cli import run

    def main() -> None:
        from clipworks.tagging import work
        from clipworks.tagging.eye import Seeing

        if fast and full:
            raise InputError("--fast and --full: choose one")
        if workers is not None and engine is not Engine.ray:
            raise InputError("--workers: they are of --engine ray; give both, or neither")
        seeing: Seeing = "fast" if fast else "crops" if full else "maps"
        made = work.open_tagger(
            tagger, classes, backbone, default=TAGGER, seeing=seeing, device=device
        )
        done = work.tag(
            made, images, out, seeing, tags_per_image=tags_per_image, batch_size=batch_size,
            precision=precision.value, device=device, workers=(workers or 2) if engine is Engine.ray else 0,
        )  # fmt: skip
        typer.echo(printable(done))

    run(main)


def export(
    out: Annotated[Path, typer.Option(help="the tagger's file")] = TAGGER,
    thresholds: Annotated[
        Rule, typer.Option(help="from the validation images: by their labels, or without")
    ] = Rule.auto,
) -> None:
    """Keep the pipeline's recommended recipe, class features and thresholds as one small file."""
    from clipworks.kit.cli import run

    def main() -> None:
        from clipworks.tagging import store
        from clipworks.tagging.export import from_pipeline

        make_place(out, (".safetensors",))
        store.check_own(out)  # now, and not when all is worked out
        rule = None if thresholds is Rule.auto else thresholds.value
        made = from_pipeline(rule)  # type: ignore[arg-type]
        made.save(out)
        ways = ", ".join(f"{way} by {rule}" for way, rule in made.about.thresholds.items())
        typer.echo(
            f"{len(made.classes)} classes, {len(made.about.models)} prompt models, "
            f"{out.stat().st_size / 1e6:.1f} MB; thresholds: {ways or 'none'} -> {out}"
        )

    run(main)


def classes(
    file: Annotated[Path, typer.Argument(help="class names, one a line")],
    backbone: Annotated[
        str | None,
        typer.Option(help="the CLIP: NAME:TAG, NAME:FILE or a folder; none: words alone"),
    ] = None,
    synonyms: Annotated[Path | None, typer.Option(help="a synonyms file")] = None,
) -> None:
    """Look a class list over: names that collide, that CLIP splits badly or can hardly tell apart."""
    from clipworks.kit.cli import run

    def main() -> None:
        from clipworks.tagging.lexicon import look_over

        notes = look_over(file, backbone, synonyms)
        for note in notes:
            typer.echo(note)
        typer.echo(
            f"{len(notes)} thing{'s' * (len(notes) != 1)} to look at"
            if notes
            else "nothing to mend"
        )

    run(main)
