"""dvc.yaml tells the truth: about code, params, names and who sees test labels."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def outputs(name: str) -> list[str]:
    listed = [*body(name).get("outs", []), *body(name).get("metrics", [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in listed]


def imported(module: str, seen: set[str]) -> set[str]:
    """Files of this project that importing a module runs, all the way down, lazy imports included."""
    path = ROOT / (module.replace(".", "/") + ".py")
    path = path if path.exists() else ROOT / module.replace(".", "/") / "__init__.py"
    name = path.relative_to(ROOT).as_posix()
    if not path.exists() or name in seen:
        return seen
    seen.add(name)
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for found in names:
            if found.split(".")[0] in ("clipworks", "stages"):
                imported(found, seen)
    return seen


def rooms(files: set[str]) -> set[str]:
    return {"/".join(f.split("/")[:2]) for f in files if f.startswith("clipworks/")}


@pytest.mark.parametrize("name", STAGES)
def test_the_rooms_that_a_stage_declares_are_exactly_those_it_imports(name: str) -> None:
    declared = {dep for dep in body(name)["deps"] if dep.startswith(("clipworks", "stages/"))}
    needed = imported(f"stages.{name}", set()) - {"clipworks/__init__.py"}
    own = {f"clipworks/{room}" for room in FLOORS if room not in SIBLINGS}
    # The library as a whole stands for all of its rooms.
    whole = {"clipworks"} if rooms(needed) == own else set()
    assert declared == (whole or rooms(needed)) | {f"stages/{name}.py"}


def test_every_module_that_speaks_of_shapes_is_held_to_them_in_tests() -> None:
    named = re.search(r"--jaxtyping-packages=([\w.,]+)", (ROOT / "pyproject.toml").read_text())
    watched = named.group(1).split(",") if named else []
    for path in (ROOT / "clipworks").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if "clipworks.kit.shapes" in path.read_text():
            assert any(name.startswith(package) for package in watched), name


# The floors: a room may know those that stand behind it here, and no other.
FLOORS = {
    "kit": set(),
    "clip": {"kit"},
    "chat": {"kit"},
    "writing": {"kit", "chat"},
    "miniature": {"kit", "clip", "chat"},
    "worlds": {"kit", "miniature"},
    "tuning": {"kit", "clip"},
    "windows": {"kit", "clip", "tuning"},
    "fusion": {"kit", "windows"},
    "report": {"kit"},
    "tagging": {"kit", "clip", "writing", "worlds", "tuning", "windows", "fusion"},
    "scenes": {"kit", "clip", "miniature"},  # the sibling solution in solutions/scenes
    "retrieval": {"kit", "clip", "miniature"},  # and in solutions/retrieval
    "search": {"kit", "clip", "tagging", "retrieval"},
}
SIBLINGS = {"scenes", "retrieval", "search", "tagging"}  # what params.yaml does not speak of
FLOORS["settings"] = set(FLOORS) - SIBLINGS  # params.yaml as a whole speaks of everything


def test_every_room_has_its_floor_and_knows_only_those_below() -> None:
    folders = {path.parent.name for path in (ROOT / "clipworks").glob("*/__init__.py")}
    assert folders == set(FLOORS)
    for room, known in FLOORS.items():
        for path in (ROOT / "clipworks" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
                if module.startswith("clipworks."):
                    assert module.split(".")[1] in known | {room}, f"{path}: {module}"


def test_contributing_says_what_an_edit_reruns() -> None:
    """The table "edit here -> reruns these", checked against dvc.yaml."""
    lines = re.findall(
        r"^\| `clipworks/(\w+)` \| (.*?) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M
    )
    for room, listed in lines:
        stages = [name for name in STAGES if f"clipworks/{room}" in body(name)["deps"]]
        expected = "all" if len(stages) == len(STAGES) - 1 else ", ".join(stages) or "nothing else"
        assert listed == expected, room
    assert [room for room, _ in lines] == list(FLOORS)
    assert dict(lines)["report"] == "evaluate" and "backbone" not in dict(lines)["chat"]


NO_TORCH = (
    "clipworks.kit.tables", "clipworks.commands", "stages.check", "stages.world", "stages.compose",
    "stages.caption", "stages.filter", "stages.evaluate",
)  # fmt: skip


def test_what_needs_no_torch_does_not_import_it() -> None:
    code = "\n".join(f"import {m}; assert 'torch' not in sys.modules, {m!r}" for m in NO_TORCH)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", STAGES)
def test_stage_script_and_params_section_share_a_name(name: str) -> None:
    assert (ROOT / f"stages/{name}.py").exists()
    listed = set(body(name).get("params", [])) - {"infer.windows"}  # which ways there are to see
    sections = {entry.split(".")[0] for entry in listed}
    assert name in sections or name == "check"  # which reads the whole file
    assert sections <= {name, "base", "chat"}
    assert f"stages.{name}" in body(name)["cmd"]


@pytest.mark.parametrize("name", STAGES)
def test_every_path_in_a_stage_script_is_declared(name: str) -> None:
    text = (ROOT / f"stages/{name}.py").read_text()
    paths = re.findall(r'Path\("((?:data|models|metrics)/[^"]+)"\)', text)
    declared = [*body(name)["deps"], *outputs(name)]
    for path in paths:
        assert any(
            d.startswith(path) or path.startswith(d.split("$")[0].rstrip("/")) for d in declared
        ), path


def test_only_evaluate_reads_test_labels() -> None:
    readers = {
        name for name in STAGES if any("annotations/test" in dep for dep in body(name)["deps"])
    }
    assert readers == {"evaluate"}
    # Nor does any other stage depend on a folder that holds them.
    for name in STAGES:
        assert not {"data/world", "data/world/annotations", "data"} & set(body(name)["deps"]), name
    # And in the code: only evaluate's script names the annotations it reads.
    for path in (ROOT / "stages").glob("*.py"):
        if path.stem not in ("evaluate", "world"):
            assert "annotations" not in path.read_text(), path


def test_test_labels_do_not_reach_predictions_through_the_graph() -> None:
    producers = {out: name for name in STAGES for out in outputs(name)}
    assert producers["data/world/annotations/test.json"] == "world"
    downstream_of_evaluate = [
        n for n in STAGES if any("data/evaluate" in d or "metrics/" in d for d in body(n)["deps"])
    ]
    assert downstream_of_evaluate == []


def test_outputs_are_cached_and_only_evaluate_keeps_metrics_in_git() -> None:
    for name in STAGES:
        in_git = [out for out in body(name).get("outs", []) if not isinstance(out, str)]
        assert (bool(in_git), "metrics" in body(name)) == (name == "evaluate", name == "evaluate")


def test_params_has_no_section_that_no_stage_reads() -> None:
    read = {entry.split(".")[0] for name in STAGES for entry in body(name).get("params", [])}
    assert set(PARAMS) - {"launcher"} == read


@pytest.mark.parametrize("pipeline", ["dvc.yaml", *map(str, ROOT.glob("solutions/*/dvc.yaml"))])
def test_the_check_runs_again_when_an_outside_file_changes(pipeline: str) -> None:
    stages = yaml.safe_load((ROOT / pipeline).read_text())["stages"]
    every = {dep for stage in stages.values() for dep in stage.get("do", stage).get("deps", [])}
    # The stage that loads weights is the first to run anyway, and they take long to look through.
    own = ("checkpoint", "${item}", "${key}")
    outside = {dep for dep in every if dep.startswith("${") and not any(o in dep for o in own)}
    assert len(outside) > 1 and outside <= set(stages["check"]["deps"])


def test_every_stage_script_is_short() -> None:
    for path in (ROOT / "stages").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path
