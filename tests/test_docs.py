"""Docs that cannot drift: their commands, their graph, their table, the files and rooms they name."""

import importlib
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import thimble
import yaml
from typer.testing import CliRunner

from bench import whole_seeds
from clipworks.commands import app
from clipworks.kit import tables
from clipworks.kit.params import MODELS
from clipworks.report import leaderboard as report
from clipworks.settings import check, whole
from clipworks.settings.reference import graph

ROOT = thimble.ROOT
SIBLINGS = sorted((ROOT / "solutions").glob("*/README.md"))
PAGES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *SIBLINGS,
]  # fmt: skip


def commands() -> Iterator[tuple[str, str]]:
    """(page, line) of every line in a bash block."""
    for page in PAGES:
        for block in re.findall(r"^[ ]*```bash\n(.*?)^[ ]*```", page.read_text(), re.M | re.S):
            for line in filter(None, map(str.strip, block.splitlines())):
                yield page.relative_to(ROOT).as_posix(), line


COMMANDS = sorted(set(commands()))
# What the tests of test_dvc.py and test_lanes.py run, or what needs a server, a GPU or a browser.
ELSEWHERE = (
    "make ", "touch params.yaml; git checkout -f main", "dvc metrics diff", "dvc plots show", "dvc exp show",
    "dvc exp list", "dvc exp apply", "dvc exp branch", "dvc repro", "vllm serve",
    "clipworks train", "clipworks check", "clipworks tag", "clipworks export", "clipworks report",
    "clipworks classes", "clipworks settings", "clipworks search", "clipworks classify",
    "clipworks submissions", "git commit -qam", "source ",
)  # fmt: skip


def overrides(line: str) -> dict[str, object]:
    words = shlex.split(line)
    pairs = [words[i + 1] for i, word in enumerate(words) if word == "-S"]
    return {k: yaml.safe_load(v) for k, v in (pair.split("=", 1) for pair in pairs)}


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_is_known_and_its_params_are_allowed(page: str, line: str, tmp_path) -> None:
    assert line.startswith(("dvc exp run", *ELSEWHERE)), f"{page}: who tests {line!r}?"
    own = (ROOT / page).parent if ROOT / page in SIBLINGS else ROOT
    (tmp_path / "params.yaml").write_text((own / "params.yaml").read_text())
    thimble.set_params(tmp_path, overrides(line))  # an unknown key raises
    with thimble.inside(tmp_path):
        if own == ROOT:
            whole.load()
        else:
            importlib.import_module(f"clipworks.{own.name}.check").load()


def test_an_unknown_key_in_a_command_would_be_noticed(tmp_path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    thimble.set_params(tmp_path, {"ensemble.rooting": "average"})
    with pytest.raises(ValueError, match=r"key 'rooting': unknown.*did you mean 'routing'"):
        whole.load(tmp_path / "params.yaml")


def test_the_readmes_first_question_is_answered(finished, tmp_path) -> None:
    line = next(line for page, line in COMMANDS if page == "README.md" and "exp run" in line)
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    before = thimble.outputs(folder)["data/ensemble/test.safetensors"]
    thimble.set_params(folder, overrides(line))
    thimble.run_stages(folder, ("check", "ensemble", "evaluate"))
    assert thimble.outputs(folder)["data/ensemble/test.safetensors"] != before


def test_the_shipped_params_pass_their_check() -> None:
    with thimble.inside(ROOT):
        assert check.check(whole.load()) == []


def test_the_graph_in_the_readme_is_the_one_in_dvc_yaml() -> None:
    text = (ROOT / "README.md").read_text()
    with thimble.inside(ROOT):
        assert graph() in text, "stale: put what `clipworks graph` prints into README.md"


def test_the_readmes_table_is_that_of_the_leaderboard() -> None:
    with thimble.inside(ROOT):
        found = CliRunner().invoke(app, ["leaderboard", "--check", "README.md"])
    assert found.exit_code == 0, found.output


def test_a_table_of_another_machines_clip_is_not_called_stale(tmp_dir: Path) -> None:
    for name in ("README.md", "dvc.lock", "metrics/leaderboard.json"):
        (tmp_dir / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_dir / name)

    def leaderboard(*words: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, ["leaderboard", *words])
        return found.exit_code, found.output

    leaderboard("--write", "README.md")  # whatever machine ran last here
    assert leaderboard("--check", "README.md") == (0, "")
    board = json.loads((tmp_dir / "metrics/leaderboard.json").read_text())
    board["ensemble"]["mAP"] += 1
    (tmp_dir / "metrics/leaderboard.json").write_text(json.dumps(board))
    code, text = leaderboard("--check", "README.md")
    assert code == 1 and "is stale; run" in text
    lock = (tmp_dir / "dvc.lock").read_text()
    clip, _ = report.clip_of(tmp_dir / "dvc.lock")
    (tmp_dir / "dvc.lock").write_text(lock.replace(clip, "0" * 8))
    code, text = leaderboard("--check", "README.md")
    assert code == 0 and "not compared" in text
    # Another CLIP that was made otherwise is a change of ours.
    found = yaml.safe_load(lock.replace(clip, "0" * 8))
    found["stages"]["backbone"]["params"]["params.yaml"]["base.seed"] = 7
    (tmp_dir / "dvc.lock").write_text(yaml.safe_dump(found))
    code, text = leaderboard("--check", "README.md")
    assert code == 1 and "is stale; run" in text


@pytest.mark.skipif(
    report.is_of_another_clip(ROOT / "README.md", ROOT / "dvc.lock"),
    reason="the pages' figures are of another processor's CLIP",
)
def test_the_figures_of_tags_in_the_pages_are_those_of_the_last_run() -> None:
    found = tables.read_json(ROOT / "metrics/tags.json")["recommended"]
    rules = ("range, without labels", "three highest", "bound: fitted on test labels")
    readme, own = ((ROOT / name).read_text() for name in ("README.md", "docs/own-images.md"))
    (line,) = (line for line in readme.splitlines() if line.startswith("Tags rather than rankings"))
    for rule in rules:
        assert f"{found[rule]['macro_F1']:.1f}" in line, rule
        assert re.search(
            rf"\| {found[rule]['macro_F1']:.1f} \| {found[rule]['micro_F1']:.1f} \|", own
        ), rule


def test_the_figures_over_whole_seeds_are_those_that_were_measured(tmp_path) -> None:
    found = tables.read_json(ROOT / "metrics/seeds.json")
    page, copy = ROOT / "docs/results.md", tmp_path / "results.md"
    shutil.copyfile(page, copy)
    for table in (whole_seeds.worth(found), whole_seeds.ways(found)):
        assert table in page.read_text()
        whole_seeds.put(copy, table)
    assert copy.read_text() == page.read_text()
    best, untrained, authors = (
        f"{found['test mAP'][row]['mean']:.1f}"
        for row in ("recommended", "maps_zero_shot_80_recommended", "ensemble")
    )
    readme, own = ((ROOT / name).read_text() for name in ("README.md", "docs/own-images.md"))
    assert f"({best} mAP on the miniature world, the authors' ensemble {authors})" in readme
    assert f"nothing trained, {untrained}; six trainings" in own
    assert f"on top, {best}." in own


def test_files_and_links_that_pages_name_exist() -> None:
    for page in PAGES:
        text = page.read_text()
        for link in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
            assert (page.parent / link).exists(), f"{page}: {link}"
        for name in re.findall(r"`((?:\w+/)+\w+\.(?:py|yaml|txt))`", text):
            places = (ROOT / name, ROOT / "clipworks" / name, page.parent / name)
            known = any(place.exists() for place in places) or "NAME" in name
            known |= name.split("/")[0] in ("train", "val", "test")  # a contest's own layout
            assert known or "mine.txt" in name, f"{page}: {name}"


def test_every_stage_and_room_is_described() -> None:
    readme, rooms = (ROOT / "README.md").read_text(), (ROOT / "docs/how-it-works.md").read_text()
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]:
        assert re.search(rf"^\| `{stage}(@…)?` \|", readme, re.M), stage
    for room in (ROOT / "clipworks").glob("*/__init__.py"):
        assert re.search(rf"^\| `{room.parent.name}` \|", rooms, re.M), room.parent.name
    assert all(model in readme for model in MODELS)


def test_every_command_of_the_console_has_help() -> None:
    for command in app.registered_commands:
        assert command.callback is not None and command.callback.__doc__
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    assert "ray[data]" in CliRunner().invoke(app, ["tag", "--help"]).output  # and no markup


def test_the_changelog_and_the_citation_name_the_version() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    assert f"## {version[1]} (" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {version[1]}\n" in (ROOT / "CITATION.cff").read_text()
    assert Path(ROOT / "LICENSE").exists()
    assert CliRunner().invoke(app, ["--version"]).output == f"clipworks {version[1]}\n"
