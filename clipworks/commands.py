"""The console command `clipworks`."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from clipworks.kit import tables
from clipworks.kit.errors import InputError
from clipworks.kit.params import MODELS
from clipworks.kit.places import make_place
from clipworks.scenes import commands as scenes
from clipworks.search import commands as search
from clipworks.tagging import commands as tagging

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"clipworks {version('clipworks')}")
        raise typer.Exit
    return asked


@app.callback()
def main(
    asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print it and stop")
    ] = False,
) -> None:
    """Leaderboard solutions built on CLIP that anyone can rebuild, question and use."""


def _only_at_the_top() -> None:
    """Raises InputError in a sibling's folder, whose figures are others."""
    if _sibling():
        raise InputError(
            "this is a sibling's folder: run it in the project's top folder (the siblings' figures are in their "
            "metrics/table.json and README.md)"
        )


def _sibling() -> Any:
    """The check of the sibling solution whose params.yaml lies here; None at the top."""
    from clipworks.kit.files import read_yaml
    from clipworks.kit.params import PARAMS
    from clipworks.retrieval import check as retrieval
    from clipworks.scenes import check as scenes
    from clipworks.settings import whole

    content = read_yaml(PARAMS) if PARAMS.exists() else None
    sections = set(content) if isinstance(content, dict) else set()
    known: list[Any] = [whole, scenes, retrieval]
    fits = [len(sections & set(one.Params.model_fields)) for one in known]
    nearest = fits.index(max(fits))
    return known[nearest] if nearest else None


@app.command()
def check() -> None:
    """Check params.yaml, the class list and the files it names; say what may not be meant.

    In a sibling's folder its own params.yaml is checked.
    """
    from clipworks.kit.classes import read_classes
    from clipworks.kit.cli import run
    from clipworks.settings import check as settings
    from clipworks.settings import whole
    from clipworks.writing.inflections import warnings

    def main() -> None:
        if sibling := _sibling():
            sibling.check(sibling.load())
            typer.echo("params.yaml can be run")
            return
        params = whole.load()
        found = settings.check(params)
        for warning in [*found, *warnings(read_classes(Path(params.base.classes)))]:
            typer.echo(f"warning: {warning}")
        typer.echo("params.yaml can be run")

    run(main)


@app.command()
def leaderboard(
    board: Annotated[Path, typer.Argument(help="what the evaluate stage wrote")] = Path(
        "metrics/leaderboard.json"
    ),
    write: Annotated[Path | None, typer.Option(help="put the table into this file")] = None,
    check: Annotated[Path | None, typer.Option(help="fail where this file's is stale")] = None,
) -> None:
    """Print the leaderboard as a table, or keep a README's copy of it fresh."""
    from clipworks.fusion.rows import rows
    from clipworks.kit.cli import run
    from clipworks.report import leaderboard as report

    def main() -> None:
        if not board.exists():
            _only_at_the_top()
        for page in filter(None, (check, write)):
            if not page.is_file():
                raise InputError(f"{page} is no file; name one with the table, such as README.md")
        meaning = {row.name: row.what for row in rows(MODELS)}
        text = report.markdown(
            report.table(tables.read_json(board, dict[str, dict[str, float]]), meaning)
        )
        lock = Path("dvc.lock")
        if check is not None and report.is_of_another_clip(check, lock):
            typer.echo(f"{check}: not compared, its figures are of another processor's CLIP")
        elif check is not None and report.put(check, report.noted(text, lock)) != check.read_text(
            encoding="utf-8"
        ):
            raise InputError(
                f"{check}: the table, or the note of how its CLIP was made, is stale; run `clipworks leaderboard --write {check}`"
            )
        if write is not None:
            write.write_text(report.put(write, report.noted(text, lock)), encoding="utf-8")
        if write is None and check is None:
            typer.echo(text, nl=False)

    run(main)


@app.command()
def report(
    out: Annotated[
        Path, typer.Option(help="one HTML file; nothing else is needed to read it")
    ] = Path("report.html"),
) -> None:
    """Write the whole run as one page: leaderboard, classes, curves, captions, pictures with tags."""
    from clipworks.fusion.rows import rows
    from clipworks.kit.cli import run
    from clipworks.report import site

    def main() -> None:
        _only_at_the_top()
        make_place(out, (".html",))
        found = site.write(out, {row.name: row.what for row in rows(MODELS)})
        typer.echo(f"{', '.join(found)} -> {out}")

    run(main)


@app.command()
def reference(
    write: Annotated[Path | None, typer.Option(help="write it to this file")] = None,
) -> None:
    """Print the reference of params.yaml: every key, what is allowed and what it reruns."""
    from clipworks.kit.cli import run
    from clipworks.kit.files import read_text
    from clipworks.settings.reference import reference as text

    def main() -> None:
        _only_at_the_top()
        if write is None:
            typer.echo(text(), nl=False)
        else:
            make_place(write, (".md",), key="--write")
            made = text()
            if write.exists() and not read_text(write).startswith(made.partition("\n")[0]):
                raise InputError(
                    f"--write: {write} is another page; name docs/params.md, or a new one"
                )
            write.write_text(made, encoding="utf-8")

    run(main)


@app.command()
def settings(
    file: Annotated[Path, typer.Argument(help="a file of keys, such as those in data/settings")],
) -> None:
    """Put a file's keys into params.yaml, all or none; its comments stay."""
    from clipworks.kit.cli import run
    from clipworks.settings import ready, whole

    def main() -> None:
        changes = ready.apply(file, check=(_sibling() or whole).load)
        for change in changes:
            typer.echo(change)
        typer.echo(
            f"{len(changes)} key{'s' * (len(changes) != 1)} of params.yaml changed; `clipworks check`, then `dvc repro`"
        )

    run(main)


@app.command()
def graph() -> None:
    """Print the stages and what they read of each other, as a Mermaid flow chart."""
    from clipworks.kit.cli import run
    from clipworks.settings.reference import graph as chart

    run(lambda: typer.echo(chart(), nl=False))


@app.command()
def train(
    devices: Annotated[
        str, typer.Option(help="CUDA_VISIBLE_DEVICES of each lane, as 0,1,2,3")
    ] = "0",
) -> None:
    """Train all models, one a device at a time, side by side; fail when one of them fails.

    What they share (captions, hard groups, the backbone) is made first; a model that goes on from
    another waits for it. What is up to date is not trained again.
    """
    from clipworks.kit.cli import run
    from clipworks.settings import check, whole
    from clipworks.settings.lanes import side_by_side

    def main() -> None:
        params = whole.load()
        check.check(params)
        starts = {m: getattr(params.train, m).start.removeprefix("train/") for m in MODELS}
        side_by_side(starts, [name.strip() for name in devices.split(",") if name.strip()])

    run(main)


app.command()(tagging.tag)
app.command()(tagging.export)
app.command()(tagging.classes)
app.command()(scenes.classify)

app.add_typer(scenes.submissions, name="submissions")
app.add_typer(search.app, name="search")

if __name__ == "__main__":
    app()
