"""The page of a whole run: everything in one file, nothing run from names, filters that work."""

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.kit.errors import InputError
from clipworks.report import site


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(
        finished, tmp_path / "run", ignore=shutil.ignore_patterns("models", "scratch", ".git")
    )
    return tmp_path / "run"


def test_a_run_becomes_one_page_that_loads_nothing(run, tmp_path) -> None:
    titles = site.write(tmp_path / "r.html", {"ensemble": "the recipe"}, root=run)
    assert {
        "Leaderboard",
        "Tags",
        "AP by class",
        "Training",
        "Captions by class",
        "Pictures",
    } <= set(titles)
    text = (tmp_path / "r.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert text.count("<figure") == 4 and "the recipe" in text  # two pictures, two ways
    assert "maps_zero_shot_80_recommended" in text and "<svg" in text


def test_markup_and_other_scripts_in_names_are_shown(run, tmp_path) -> None:
    path = run / "data/evaluate/pictures/pictures.json"
    found = json.loads(path.read_text())
    found[0]["name"] = '<script>alert(1)</script>猫"'
    found[0]["figures"][0]["lines"] = [
        {"mark": "1", "tag": "<b>чашка", "logit": 1.0, "verdict": "right"}
    ]
    path.write_text(json.dumps(found))
    site.write(tmp_path / "r.html", {}, root=run)
    text = (tmp_path / "r.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;猫&quot;" in text and "&lt;b&gt;чашка" in text
    assert "<script>alert" not in text


def test_classes_called_none_or_by_numbers_keep_their_names(run, tmp_path) -> None:
    table = "class\tAP\nNone\t1.5\n007\t2.5\nNA\t\n"
    (run / "data/evaluate/class_ap.tsv").write_text(table)
    site.write(tmp_path / "r.html", {}, root=run)
    text = (tmp_path / "r.html").read_text()
    assert all(f">{name}<" in text for name in ("None", "007", "NA"))


def test_a_run_without_labels_has_a_page_without_figures_of_merit(run, tmp_path) -> None:
    for name in ("leaderboard", "tags"):
        (run / f"metrics/{name}.json").write_text("{}")
    titles = site.write(tmp_path / "r.html", {}, root=run)
    assert "Leaderboard" not in titles and "Tags" not in titles and "Pictures" in titles


def test_figures_of_other_runs_are_called_so(run, tmp_path) -> None:
    (run / "metrics/seeds.tsv").write_text(
        "row\twhat\ttest_mAP\tspread\nensemble\tthe recipe\t75.4\t0.9\n"
    )
    assert "Whole seeds" in site.write(tmp_path / "r.html", {}, root=run)
    page = (tmp_path / "r.html").read_text()
    assert "as last measured apart from this run" in page


def test_names_of_curves_that_end_together_stand_apart() -> None:
    """Six that end half-way up once sent a name to and fro for ever."""
    ends = [50.0, 50.2, 49.8, 50.1, 49.9, 50.0]
    frame = pd.DataFrame(
        [{"model": f"m{i}", "epoch": e, "loss": v} for i, end in enumerate(ends) for e, v in ((0, 100.0 * (i % 2)), (1, end))]
    )  # fmt: skip
    found = site._lines(frame, "loss", "loss")
    places = sorted(int(y) for y in re.findall(r'y="(\d+)" fill', found))
    assert len(places) == 6 and all(b - a >= 12 for a, b in pairwise(places))


def test_a_project_that_has_not_run_is_told_to(tmp_path) -> None:
    with pytest.raises(InputError, match=r"leaderboard\.json is not there; run `dvc repro` first"):
        site.write(tmp_path / "r.html", {}, root=tmp_path)


@pytest.mark.skipif(not shutil.which("chromium"), reason="no browser here")
def test_a_real_browser_counts_the_pictures(run, tmp_path) -> None:
    site.write(tmp_path / "r.html", {}, root=run)
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run(
        [*command, (tmp_path / "r.html").as_uri()], capture_output=True, text=True, timeout=60
    )
    assert '<span id="count">4 pictures</span>' in done.stdout
    assert done.stdout.count("<option") > 5


@pytest.mark.parametrize(
    "command",
    [
        "report --out",
        "export --out",
        "reference --write",
        "leaderboard --write",
        "search index pics --index",
    ],
)
def test_places_that_cannot_be_written_are_refused_before_the_work(tmp_dir, command) -> None:
    (tmp_dir / "file").touch()
    name = {"report": "file/x.html", "export": "file/x.safetensors", "reference": "file/x.md"}
    found = CliRunner().invoke(app, [*command.split(), name.get(command.split()[0], "file/x")])
    assert isinstance(found.exception, SystemExit) and str(found.exception).startswith("error: ")
    assert any(
        word in str(found.exception) for word in ("cannot be made or written to", "is no file")
    )


@pytest.mark.parametrize("command", ["leaderboard", "report", "reference"])
@pytest.mark.parametrize("name", ["scenes", "retrieval"])
def test_what_is_of_the_top_folder_says_so_in_a_siblings(tmp_dir, name, command) -> None:
    root = Path(__file__).parent.parent
    shutil.copy(root / f"solutions/{name}/params.yaml", tmp_dir / "params.yaml")
    found = CliRunner().invoke(app, [command])
    assert found.exit_code == 1 and "run it in the project's top folder" in found.output
