"""solutions/retrieval from end to end, small; and its dvc.yaml tells the truth."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import made_once
from safetensors.torch import load_file
from test_pipeline import imported, rooms
from test_scenes_pipeline import change

from clipworks.clip import backbone, encoding
from clipworks.kit import tables
from clipworks.kit.errors import InputError
from clipworks.retrieval import dataset, finetuning, inventory, parsed, results, submission
from clipworks.retrieval.params import Finetune

ROOT = Path(__file__).parent.parent
SOLUTION = ROOT / "solutions/retrieval"
STAGES = yaml.safe_load((SOLUTION / "dvc.yaml").read_text())["stages"]
VARIANTS = ("hard", "soft", "completed", "completed_hard")
ORDER = (
    "check", "world", "backbone", "parse", "complete", "prepare",
    *(f"finetune@{v}" for v in VARIANTS), "soup", "search", "submit", "evaluate",
)  # fmt: skip
SMALL: dict[str, Any] = {
    **{f"world.miniature.{s}.cars": n for s, n in (("train", 24), ("val", 14), ("test", 16))},
    **{f"world.miniature.{s}.persons": n for s, n in (("train", 12), ("val", 8), ("test", 8))},
    **{f"world.miniature.{s}.car_attributes": 6 for s in ("train", "val", "test")},
    **{f"world.miniature.{s}.person_attributes": 4 for s in ("train", "val", "test")},
    "backbone.scene.side": 32,
    "backbone.images": 48,
    "backbone.trunk_steps": 2,
    "backbone.pair_steps": 2,
    **{f"finetune.{v}.{k}": n for v in VARIANTS for k, n in (("stop", 2), ("batch_size", 12))},
    "search.candidates": 12,
    "evaluate.pictures": 4,
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def run(name: str) -> None:
    """A stage of this solution, from the working folder."""
    stage, _, key = name.partition("@")
    spec = importlib.util.spec_from_file_location(f"retrieval_{stage}", SOLUTION / f"stages/{stage}.py")  # fmt: skip
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(*([key] if key else []))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The solution with everything small, every stage run once. Not to be changed: copy it."""

    def make(folder: Path) -> None:
        (folder / "data").mkdir(parents=True)
        shutil.copyfile(SOLUTION / "data/none", folder / "data/none")
        shutil.copyfile(SOLUTION / "params.yaml", folder / "params.yaml")
        change(folder, SMALL)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for stage in ORDER:
                run(stage)

    return made_once(tmp_path_factory, "retrieval", make)


@pytest.fixture
def project(finished, tmp_path, monkeypatch) -> Path:
    """A copy of it, to be changed; the working folder."""
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_the_pipeline_ends_with_a_table_a_submission_and_a_page(finished) -> None:
    rows = yaml.safe_load((finished / "params.yaml").read_text())["search"]["rows"]
    board = json.loads((finished / "metrics/table.json").read_text())
    assert list(board) == list(rows)
    for row, line in board.items():
        assert 0 <= line["mAP@10"] <= line["mAP@10_capped"] <= 100
        assert line["mAP@10"] <= line["mAP@10_script"] + 0.01
        assert line["recall@1"] <= line["recall@5"] <= line["recall@10"]
        assert ("p" in line) == bool(rows[row]["against"])
    root = finished / "data/world/dataset"
    asked, gallery = dataset.queries(root), dataset.gallery(root)
    content = json.loads((finished / "data/submit/submission.json").read_text())
    submission.check(content, asked, gallery)
    chosen = json.loads((finished / "data/submit/chosen.json").read_text())
    assert chosen["row"] == max(board, key=lambda row: chosen["validation"][row])
    truth = dataset.read_truth(finished / "data/world/truth", gallery, asked)
    hits = [
        [truth.gallery[name] == wanted for name in one["image_names"]]
        for one, wanted in zip(content["results"], truth.queries, strict=True)
    ]
    ap = pd.read_parquet(finished / "data/evaluate/ap.parquet")[chosen["row"]]
    obvious = []
    for row, wanted in zip(hits, truth.queries, strict=True):
        found = np.flatnonzero(row)
        precisions = [(i + 1) / (place + 1) for i, place in enumerate(found)]
        obvious.append(sum(precisions) / list(truth.gallery.values()).count(wanted))
    np.testing.assert_allclose(ap, obvious, atol=1e-9)
    page = (finished / "data/evaluate/page.html").read_text()
    assert page.count("<h2>") == 4 and page.count("<figure") == 40
    summary = json.loads((finished / "metrics/summary.json").read_text())
    assert summary["reranked"] == board["reranked"]["mAP@10"] and len(summary) <= 8


def test_labels_lack_what_the_contests_labels_lack(finished) -> None:
    records, files = parsed.read(finished / "data/parse/train.parquet")
    cars = [inventory.by_case(r.attribute) for r in records if r.kind == "car"]
    assert len(cars) == 24 and len(records) == 36
    assert not any(car.colour and car.brand and car.type for car in cars)
    assert any(car.type for car in cars) and any(car.colour and car.brand for car in cars)
    frame = pd.read_parquet(finished / "data/complete/completed.parquet").set_index("image")
    known = inventory.Inventory.load(finished / "data/parse/inventory.json")
    for record, car in zip([r for r in records if r.kind == "car"], cars, strict=True):
        filled = frame.loc[record.image, "completed"].removesuffix(".")
        found = inventory.find(filled.split(" a ")[-1].removeprefix("A ").removeprefix("An ").split(" an ")[-1], known)  # fmt: skip
        assert found.brand == car.brand  # never invented
        assert found.colour and (found.type or not known.types)
    table = dataset.read_pairs(finished / "data/prepare/completed.csv")
    assert [Path(file) for file, _ in table] == files
    assert not any(title.startswith(("A ", "This is")) for _, title in table[:24])


def test_what_test_queries_mean_changes_no_answer(project) -> None:
    before = Path("data/submit/submission.json").read_bytes()
    truth = Path("data/world/truth") / dataset.QUERY_TRUTH
    lines = truth.read_text().splitlines()
    truth.write_text(dataset.join(lines[::-1]))
    old = json.loads(Path("metrics/table.json").read_text())
    for stage in ("complete", "prepare", "soup", "search", "submit", "evaluate"):
        run(stage)
    assert Path("data/submit/submission.json").read_bytes() == before
    assert json.loads(Path("metrics/table.json").read_text()) != old


def test_a_folder_in_the_organisers_layout_needs_no_truth(project) -> None:
    Path("data/world").rename("own")
    shutil.rmtree("data/evaluate")
    own = Path("own/dataset")
    change(project, {"world.source": "folder", "world.folder": "own/dataset"})
    for stage in ("check", "world", "parse", "complete", "prepare", "finetune@hard", "search",
                  "submit", "evaluate"):  # fmt: skip
        run(stage)
    board = json.loads(Path("metrics/table.json").read_text())
    assert "mAP@10" not in board["hard"] and board["hard"]["validation"] >= 0
    assert "The first of" in Path("data/evaluate/page.html").read_text()
    for name in (dataset.QUERY_TRUTH, dataset.GALLERY_TRUTH):
        shutil.copyfile(Path("own/truth") / name, own / "test" / name)
    run("world")
    run("evaluate")
    assert "mAP@10" in json.loads(Path("metrics/table.json").read_text())["hard"]


class Killed(BaseException):
    pass


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(project, monkeypatch) -> None:
    shutil.rmtree("scratch", ignore_errors=True)
    whole = load_file("models/finetune/soft/open_clip_model.safetensors")
    curve = Path("data/finetune/soft.tsv").read_bytes()
    epochs: list[int] = []
    epoch = finetuning.Finetuning._epoch

    def counted(self, number: int, bar) -> float:
        epochs.append(number)
        if len(epochs) == 2:
            raise Killed
        return epoch(self, number, bar)

    monkeypatch.setattr(finetuning.Finetuning, "_epoch", counted)
    with pytest.raises(Killed):
        run("finetune@soft")
    shutil.rmtree("models/finetune/soft")
    run("finetune@soft")
    assert epochs == [0, 1, 1]
    again = load_file("models/finetune/soft/open_clip_model.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert Path("data/finetune/soft.tsv").read_bytes() == curve
    assert not list(Path("scratch/finetune").glob("soft-*"))


def test_a_killed_search_goes_on_and_finds_the_same(project, monkeypatch) -> None:
    before = Path("data/search/test.safetensors").read_bytes()
    monkeypatch.setattr(encoding, "PER_FILE", 8)
    features, calls = encoding.image_features, []

    def counted(*arguments, **options):
        calls.append(options.get("label"))
        if len(calls) == kill:
            raise Killed
        return features(*arguments, **options)

    monkeypatch.setattr(encoding, "image_features", counted)
    kill = 0
    shutil.rmtree("scratch")
    run("search")
    whole = len(calls)
    kill = whole + 9
    shutil.rmtree("scratch")
    with pytest.raises(Killed):
        run("search")
    run("search")
    assert len(calls) == 2 * whole + 1  # only the part that was in hand is encoded again
    assert Path("data/search/test.safetensors").read_bytes() == before
    change(project, {"search.rows.suffix.suffix.car": "at night"})
    run("search")
    assert len(calls) == 2 * whole + 1  # other words ask for no picture again


def test_fine_tuning_learns_and_locked_towers_stay(project) -> None:
    settings = yaml.safe_load(Path("params.yaml").read_text())["finetune"]["hard"]
    pairs = [(Path(f), t) for f, t in dataset.read_pairs(Path("data/prepare/raw.csv"))]

    def train(**changes) -> tuple[list[float], dict[str, bool]]:
        from clipworks.kit import runtime

        clip = backbone.load(Path("models/backbone"))
        before = {k: v.clone() for k, v in clip.model.state_dict().items()}
        values = iter([0.5, 0.25, 0.5, 0.75, 0.1, 0.1])
        work = finetuning.Finetuning(
            clip, pairs, Finetune(**{**settings, "stop": 4, "lr": 2e-3, **changes}), seed=0,
            accelerator=runtime.accelerator(torch.device("cpu"), "fp32"),
            judge=lambda _: next(values), alike=[t for _, t in pairs], scratch=Path(f"scratch/{len(str(changes))}"), label="x",
        )  # fmt: skip
        progress = work.run()
        assert progress.best_epoch == 3
        kept = [work.checkpoint(epoch).exists() for epoch in range(4)]
        assert kept == [changes.get("keep_epochs", True)] * 3 + [True]
        after = clip.model.state_dict()
        changed = {k: not torch.equal(before[k], after[k]) for k in before}
        return [row["loss"] for row in progress.history], changed

    losses, changed = train()
    assert losses[-1] < losses[0]
    assert changed["text_projection"] and changed["visual.layer1.0.conv1.weight"]
    assert not any(v for k, v in changed.items() if "running" in k)  # batch norms' statistics
    _, changed = train(lock_image=True)
    assert not any(v for k, v in changed.items() if k.startswith("visual."))
    assert changed["text_projection"]
    _, changed = train(lock_text=True, accumulation=3, checkpointing=True, keep_epochs=False)
    assert changed["visual.attnpool.v_proj.weight"] and not changed["text_projection"]


SCRIPT = """
import sys, torch
from pathlib import Path
import yaml
from clipworks.clip import backbone
from clipworks.kit import runtime
from clipworks.retrieval import dataset, finetuning
from clipworks.retrieval.params import Finetune

torch.set_num_threads(1)
clip = backbone.load(Path("models/backbone"))
settings = yaml.safe_load(Path("params.yaml").read_text())["finetune"][sys.argv[2]]
pairs = [(Path(f), t) for f, t in dataset.read_pairs(Path("data/prepare/raw.csv"))]
work = finetuning.Finetuning(
    clip, pairs, Finetune(**{**settings, "stop": 1}), seed=0, judge=lambda _: 0.5, label="x",
    alike=[t[:4] for _, t in pairs],
    accelerator=runtime.accelerator(torch.device("cpu"), "fp32"), scratch=Path(sys.argv[1]),
)
work.run()
print(work._accelerator.num_processes)
"""


def test_two_processes_learn_what_one_learns(project) -> None:
    Path("script.py").write_text(SCRIPT)
    single = [sys.executable, "script.py", "one", "soft"]  # targets are shared over both processes
    double = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
              "script.py", "two", "soft"]  # fmt: skip
    for command, count in ((single, "1"), (double, "2")):
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
        assert count in done.stdout
    one, two = (load_file(f"{name}/epoch_01.safetensors") for name in ("one", "two"))
    start = load_file("models/backbone/open_clip_model.safetensors")
    floats = [name for name in start if start[name].is_floating_point()]
    moved = max(float((one[name] - start[name]).abs().max()) for name in floats)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=moved * 0.05)


@pytest.mark.parametrize(
    ("change_to", "stage", "message"),
    [
        (("data/world/dataset/train/train_label.txt", "a.jpg$white Falco.\n"), "parse",
         r"train_label\.txt: .*\n  line 37: caption is missing"),
        (("data/world/dataset/train/train_label.txt", "zzz.jpg$white Falco.$A white Falco.\n"), "parse",
         r"train_images/zzz\.jpg does not exist, but the labels name it"),
        (("data/world/dataset/test/test_text.txt", "\nA car.\n"), "parse",
         r"test_text\.txt, line \d+: an empty query"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name_and_line(project, change_to, stage, message) -> None:
    file, line = change_to
    with Path(file).open("a") as out:
        out.write(line)
    with pytest.raises(InputError, match=message):
        run(stage)


def test_bad_lines_may_be_left_out_and_are_listed(project) -> None:
    path = Path("data/world/dataset/train/train_label.txt")
    first = path.read_text().splitlines()[0]
    with path.open("a") as out:
        out.write(f"a.jpg$white Falco.\n{first}\n")
    change(project, {"parse.skip_bad": True})
    run("parse")
    refused = json.loads(Path("data/parse/refused.json").read_text())[path.as_posix()]
    assert [(r["line"], r["field"]) for r in refused] == [(37, "caption"), (0, "image")]
    assert len(parsed.read(Path("data/parse/train.parquet"))[0]) == 36


def test_a_query_that_names_nothing_known_is_searched_and_listed(project) -> None:
    with (Path("data/world/dataset/test") / dataset.QUERIES).open("a") as out:
        out.write("A dog in the rain.\n")
    run("parse")
    # This street is so small that types of some queries are in no label: those are listed too.
    *_, listed = json.loads(Path("data/parse/refused.json").read_text())["queries"]
    assert listed["line"] == 11 and "neither a car" in listed["why"]
    assert len(parsed.queries(Path("data/parse/queries.json"))[0]) == 11


def test_an_empty_gallery_and_a_broken_picture_stop_with_their_names(project) -> None:
    folder = Path("data/world/dataset/test/test_images")
    victim = sorted(folder.iterdir())[3]
    victim.write_bytes(b"none")
    with pytest.raises(InputError, match=rf"{victim.name} cannot be read as a picture"):
        run("search")
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(InputError, match=r"test_images holds no pictures: the gallery is empty"):
        run("search")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search.rows.soft.model": "finetune/sof"}, r"search\.rows\.soft\.model: no model 'finetune/sof'"),
        ({"search.rows.soft.against": "hrad"}, r"rows\.soft\.against: no row 'hrad'"),
        ({"soup.variants": ["best"]}, r"soup\.variants: no variant 'best' in finetune"),
        ({"finetune.completed.keep_epochs": False}, r"finetune\.completed\.keep_epochs is false"),
        ({"submit.row": "best"}, r"submit\.row: no row 'best'; there are .*or validation"),
        ({"launcher": "torchrum --nproc_per_node 2"}, r"launcher: there is no command 'torchrum' here"),
        ({"finetune.hard.stop": 31}, r"stop 31 exceeds epochs 30"),
        ({"finetune.hard.crop": [1.0, 0.9]}, r"crop .*the smaller first"),
        ({"finetune.hard.lock_image": True, "finetune.hard.lock_text": True}, r"one tower must learn"),
        ({"finetune.hard.targets": "atribute"}, r"key 'hard\.targets'.*did you mean 'attribute'\?"),
        ({"world.source": "folder"}, r"world\.folder: data/none is no folder"),
        ({"parse.inventory": "none.json"}, r"none\.json does not exist"),
        ({"base.device": "cpu", "finetune.hard.precision": "fp16"}, r"finetune\.hard\.precision: fp16 needs a GPU"),
        ({"backbone.source": "pretrained", "backbone.model": "ViT-bigG-41"}, r"open_clip has no model 'ViT-bigG-41'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_before_anything_runs(project, changes, message) -> None:
    change(project, changes)
    with pytest.raises(InputError, match=message):
        run("check")


def test_the_fine_tuned_model_knows_how_it_wants_its_pictures(finished) -> None:
    clip = backbone.load(finished / "models/finetune/hard")
    assert clip.resize_mode == "longest"
    assert backbone.load(finished / "models/backbone").resize_mode == "shortest"
    assert backbone.load(finished / "models/soup/greedy").resize_mode == "longest"


def test_results_name_their_pictures(finished) -> None:
    rows, names = results.read(finished / "data/search/test.safetensors")
    assert names == sorted(
        p.name for p in (finished / "data/world/dataset/test/test_images").iterdir()
    )
    assert all(top.shape == (10, 10) for top in rows.values())


@pytest.mark.parametrize("name", STAGES)
def test_the_rooms_that_a_stage_declares_are_exactly_those_it_imports(name: str) -> None:
    declared = {dep for dep in body(name)["deps"] if dep.startswith(("clipworks", "stages/"))}
    script = SOLUTION / f"stages/{name}.py"
    modules = re.findall(r"^from (clipworks[\w.]*) import (.+)$", script.read_text(), re.M)
    files: set[str] = set()
    for module, parts in modules:
        files |= imported(module, set())
        for part in parts.split(", "):
            if (ROOT / module.replace(".", "/") / f"{part}.py").exists():
                files |= imported(f"{module}.{part}", set())
    assert declared == rooms(files) | {f"stages/{name}.py"}


@pytest.mark.parametrize("name", STAGES)
def test_stage_script_and_params_section_share_a_name_and_paths_are_declared(name: str) -> None:
    text = (SOLUTION / f"stages/{name}.py").read_text()
    assert f"stages.{name}" in body(name)["cmd"] and len(text.splitlines()) <= 80
    sections = {entry.split(".")[0] for entry in body(name).get("params", [])}
    assert name in sections or name == "check"
    outs = [o if isinstance(o, str) else next(iter(o)) for k in ("outs", "metrics") for o in body(name).get(k, [])]  # fmt: skip
    declared = [*body(name)["deps"], *outs]
    for path in re.findall(r'Path\("((?:data|models|metrics)[^"]*)"\)', text):
        assert any(
            d.startswith(path) or path.startswith(d.split("$")[0].rstrip("/")) for d in declared
        ), path
    read = set(re.findall(r'load\(f?"(\w+)', text))
    assert read <= sections, f"{name} reads {read - sections}"


def test_only_evaluate_knows_what_test_queries_mean() -> None:
    assert {n for n in STAGES if any("truth" in d for d in body(n)["deps"])} == {"evaluate"}
    for path in (SOLUTION / "stages").glob("*.py"):
        if path.stem not in ("evaluate", "world"):
            assert "truth" not in path.read_text().lower(), path
    assert tables.read_json(SOLUTION / "metrics/table.json")


def test_metrics_in_git_come_from_evaluate_alone() -> None:
    for name in STAGES:
        in_git = [out for out in body(name).get("outs", []) if not isinstance(out, str)]
        assert (bool(in_git), "metrics" in body(name)) == (name == "evaluate", name == "evaluate")


def test_the_contests_settings_can_be_put_in_and_pass_but_for_what_is_not_here(project) -> None:
    from typer.testing import CliRunner

    from clipworks.commands import app
    from clipworks.retrieval import check

    change(project, {"finetune.hard.lr": "3e-4"})
    file = SOLUTION / "data/settings/contest.yaml"
    done = CliRunner().invoke(app, ["settings", str(file)])
    assert done.exit_code == 0, done.output
    params = check.load()
    assert list(params.finetune) == ["authors"] and params.finetune["authors"].lr == 4e-7
    assert params.search.candidates == 12  # what the file does not name stays
    with pytest.raises(InputError) as refused:
        check.check(params)
    lines = str(refused.value).splitlines()[1:]
    assert len(lines) == 2 and "world.folder" in lines[0] and "laion2b_s39b_b160k" in lines[1]
    assert "can be run" not in CliRunner().invoke(app, ["check"]).output


def test_the_table_in_the_readme_is_the_one_that_was_measured() -> None:
    from bench.retrieval_seeds import markdown

    found = tables.read_json(SOLUTION / "metrics/seeds.json")
    assert markdown(found) in (SOLUTION / "README.md").read_text()
    assert set(found) == set(tables.read_json(SOLUTION / "metrics/table.json"))
