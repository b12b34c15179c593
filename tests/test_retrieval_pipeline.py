"""solutions/retrieval from end to end, small; and its dvc.yaml tells the truth."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from retrieving import ROOT, SOLUTION, STAGES, body, run
from test_pipeline import imported, rooms
from thimble import set_params

from clipworks.clip import backbone
from clipworks.kit import tables
from clipworks.retrieval import dataset, inventory, parsed, results, submission


def test_the_pipeline_ends_with_a_table_a_submission_and_a_page(finished_street) -> None:
    rows = yaml.safe_load((finished_street / "params.yaml").read_text())["search"]["rows"]
    board = json.loads((finished_street / "metrics/table.json").read_text())
    assert list(board) == list(rows)
    for row, line in board.items():
        assert 0 <= line["mAP@10"] <= line["mAP@10_capped"] <= 100
        assert line["mAP@10"] <= line["mAP@10_script"] + 0.01
        assert line["recall@1"] <= line["recall@5"] <= line["recall@10"]
        assert ("p" in line) == bool(rows[row]["against"])
    root = finished_street / "data/world/dataset"
    asked, gallery = dataset.queries(root), dataset.gallery(root)
    content = json.loads((finished_street / "data/submit/submission.json").read_text())
    submission.check(content, asked, gallery)
    chosen = json.loads((finished_street / "data/submit/chosen.json").read_text())
    assert chosen["row"] == max(board, key=lambda row: chosen["validation"][row])
    truth = dataset.read_truth(finished_street / "data/world/truth", gallery, asked)
    hits = [
        [truth.gallery[name] == wanted for name in one["image_names"]]
        for one, wanted in zip(content["results"], truth.queries, strict=True)
    ]
    ap = pd.read_parquet(finished_street / "data/evaluate/ap.parquet")[chosen["row"]]
    obvious = []
    for row, wanted in zip(hits, truth.queries, strict=True):
        found = np.flatnonzero(row)
        precisions = [(i + 1) / (place + 1) for i, place in enumerate(found)]
        obvious.append(sum(precisions) / list(truth.gallery.values()).count(wanted))
    np.testing.assert_allclose(ap, obvious, atol=1e-9)
    page = (finished_street / "data/evaluate/page.html").read_text()
    assert page.count("<h2>") == 4 and page.count("<figure") == 40
    summary = json.loads((finished_street / "metrics/summary.json").read_text())
    assert summary["reranked"] == board["reranked"]["mAP@10"] and len(summary) <= 8


def test_labels_lack_what_the_contests_labels_lack(finished_street) -> None:
    records, files = parsed.read(finished_street / "data/parse/train.parquet")
    cars = [inventory.by_case(r.attribute) for r in records if r.kind == "car"]
    assert len(cars) == 24 and len(records) == 36
    assert not any(car.colour and car.brand and car.type for car in cars)
    assert any(car.type for car in cars) and any(car.colour and car.brand for car in cars)
    frame = pd.read_parquet(finished_street / "data/complete/completed.parquet").set_index("image")
    known = inventory.Inventory.load(finished_street / "data/parse/inventory.json")
    for record, car in zip([r for r in records if r.kind == "car"], cars, strict=True):
        filled = frame.loc[record.image, "completed"].removesuffix(".")
        found = inventory.find(filled.split(" a ")[-1].removeprefix("A ").removeprefix("An ").split(" an ")[-1], known)  # fmt: skip
        assert found.brand == car.brand  # never invented
        assert found.colour and (found.type or not known.types)
    table = dataset.read_pairs(finished_street / "data/prepare/completed.csv")
    assert [Path(file) for file, _ in table] == files
    assert not any(title.startswith(("A ", "This is")) for _, title in table[:24])


def test_what_test_queries_mean_changes_no_answer(own_street) -> None:
    before = Path("data/submit/submission.json").read_bytes()
    truth = Path("data/world/truth") / dataset.QUERY_TRUTH
    lines = truth.read_text().splitlines()
    truth.write_text(dataset.join(lines[::-1]))
    old = json.loads(Path("metrics/table.json").read_text())
    for stage in ("complete", "prepare", "soup", "search", "submit", "evaluate"):
        run(stage)
    assert Path("data/submit/submission.json").read_bytes() == before
    assert json.loads(Path("metrics/table.json").read_text()) != old


def test_a_folder_in_the_organisers_layout_needs_no_truth(own_street) -> None:
    Path("data/world").rename("own")
    shutil.rmtree("data/evaluate")
    own = Path("own/dataset")
    set_params(own_street, {"world.source": "folder", "world.folder": "own/dataset"})
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


def test_the_fine_tuned_model_knows_how_it_wants_its_pictures(finished_street) -> None:
    clip = backbone.load(finished_street / "models/finetune/hard")
    assert clip.resize_mode == "longest"
    assert backbone.load(finished_street / "models/backbone").resize_mode == "shortest"
    assert backbone.load(finished_street / "models/soup/greedy").resize_mode == "longest"


def test_results_name_their_pictures(finished_street) -> None:
    rows, names = results.read(finished_street / "data/search/test.safetensors", 10)
    assert names == sorted(
        p.name for p in (finished_street / "data/world/dataset/test/test_images").iterdir()
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


def test_the_table_in_the_readme_is_the_one_that_was_measured() -> None:
    from bench.retrieval_seeds import TABLE

    found = tables.read_json(SOLUTION / "metrics/seeds.json")
    assert TABLE.markdown(found) in (SOLUTION / "README.md").read_text()
    assert set(found) == set(tables.read_json(SOLUTION / "metrics/table.json"))


def test_what_learns_depends_on_its_own_pictures_and_not_on_the_whole_folder(own_street) -> None:
    for stage in ("complete", "finetune", "soup"):
        deps = body(stage)["deps"]
        assert "data/parse/pictures.tsv" in deps and "${world.folder}" not in deps
    own = Path("own/dataset")
    shutil.copytree("data/world/dataset", own)
    set_params(own_street, {"world.source": "folder", "world.folder": "own/dataset"})

    def parsed() -> dict[str, bytes]:
        run("parse")
        return {path.name: path.read_bytes() for path in Path("data/parse").iterdir()}

    run("world")
    before = parsed()
    for name in (dataset.QUERY_TRUTH, dataset.GALLERY_TRUTH):
        shutil.copy(Path("data/world/truth", name), own / "test" / name)
    assert parsed() == before
    picture = next((own / "train/train_images").iterdir())
    picture.write_bytes(picture.read_bytes() + b" ")
    after = parsed()
    assert {name for name in after if after[name] != before[name]} == {"pictures.tsv"}
