"""`clipworks search index FOLDER` and `clipworks search QUERY`."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from clipworks.kit.errors import InputError
from clipworks.kit.files import printable
from clipworks.kit.places import make_folder, make_place

DEFAULT = Path("images.index")


class QueryByDefault(TyperGroup):
    """`search WORDS` is a query, unless the first word is one of the commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before what is none."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["query", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=QueryByDefault,
    no_args_is_help=True,
    help="Search your own images: `search index FOLDER` once, then `search WORDS`, which is short for "
    "`search query WORDS` (`search query --help` has its options).",
)
Folder = Annotated[Path, typer.Option("--index", help="the index's folder")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]


@app.command()
def index(
    images: Annotated[
        list[str] | None,
        typer.Argument(help="folders, files, patterns, tar shards or parquet tables; none: those it has"),
    ] = None,
    folder: Folder = DEFAULT,
    model: Annotated[
        str | None, typer.Option(help="NAME:TAG of open_clip, NAME:FILE of weights, or a folder")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    device: Device = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="of a Ray cluster, each with the model; 0: this machine alone")
    ] = 0,
) -> None:  # fmt: skip
    """Embed images once; run again, it looks at new ones only, and forgets those that are gone."""
    from clipworks.kit.cli import run

    def main() -> None:
        from clipworks.search.making import build

        make_folder(folder, key="--index")
        made = build(folder, images or [], model, batch_size=batch_size, device=device, workers=workers)  # fmt: skip
        typer.echo(
            f"{made.images:,} images, {made.new:,} of them new, {made.changed:,} changed, {made.gone:,} gone "
            f"-> {printable(str(folder))}"
        )
        for name, why in made.bad[:10]:
            typer.echo(f"bad: {name}: {why}")
        if len(made.bad) > 10:
            typer.echo(f"... and {len(made.bad) - 10} more that could not be read")
        if not made.images:
            with suppress(OSError):  # it holds something: an index that lost all its images, say
                folder.rmdir()
            raise InputError(f"no image could be read; {folder} holds none")

    run(main)


@app.command()
def query(
    words: Annotated[
        list[str] | None, typer.Argument(help="a sentence; may be left out beside --image")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="find images like this one")] = None,
    top: Annotated[int, typer.Option(min=1, help="how many")] = 10,
    out: Annotated[
        Path | None, typer.Option(help="a page (.html) or a table (.csv, .json, .parquet)")
    ] = None,
    folder: Folder = DEFAULT,
    text_weight: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="of the sentence beside an image; 0.5 unless told"),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="look at every image, also in a large index")] = False,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Find images by a sentence, by an image, or by both."""
    from clipworks.kit.cli import run

    def main() -> None:
        from clipworks.search import page
        from clipworks.search.index import EVEN, Index

        if out is not None:
            make_place(out, page.KINDS)
        text = printable(" ".join(words or []))
        if not text.strip() and image is None:
            raise InputError("give a sentence, --image, or both")
        if text_weight is not None and (image is None or not text.strip()):
            raise InputError("--text-weight: it weighs a sentence against --image; give both")
        weight = EVEN if text_weight is None else text_weight
        opened = Index.open(folder, device=device)
        found = opened.find(text, image=image, top=top, text_weight=weight, exact=exact)
        if out is not None:  # first: whoever reads what is printed may close the pipe (`| head`)
            page.write(out, found, text=text, image=image, count=len(opened), model=opened.model)
        for place, one in enumerate(found, start=1):
            name = one.image.replace("\n", "\\n").replace("\r", "\\r")
            typer.echo(f"{place:3d}  {one.cosine:.3f}  {name}")
        if out is not None:
            typer.echo(f"-> {printable(str(out))}")

    run(main)
