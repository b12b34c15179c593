"""The console command `clipworks`."""

from pathlib import Path
from typing import Annotated

import typer

from clipworks.kit import tables
from clipworks.kit.params import MODELS

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Leaderboard solutions built on CLIP that anyone can rebuild, question and use."""


@app.command()
def check() -> None:
    """Check params.yaml, the class list and the files it names; say what may not be meant."""
    from clipworks.kit.classes import read_classes
    from clipworks.kit.cli import run
    from clipworks.settings import check as settings
    from clipworks.settings import whole
    from clipworks.writing.inflections import ambiguous

    def main() -> None:
        params = whole.load()
        warnings = settings.check(params)
        found = ambiguous(read_classes(Path(params.base.classes)))
        for warning in [*warnings, *(one.message for one in found)]:
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
    from clipworks.report import leaderboard as report

    meaning = {row.name: row.what for row in rows(MODELS)}
    text = report.markdown(report.table(tables.read_json(board), meaning))
    if check is not None and report.put(check, text) != check.read_text(encoding="utf-8"):
        raise SystemExit(
            f"{check}: the table is stale; run `clipworks leaderboard --write {check}`"
        )
    if write is not None:
        write.write_text(report.put(write, text), encoding="utf-8")
    if write is None and check is None:
        typer.echo(text, nl=False)
