"""Every stage in order on the thimble world: outputs, one printed line, equal bytes again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import thimble
import yaml

from clipworks.kit.params import MODELS


@pytest.mark.timeout(280)
def test_all_stages_run_again_to_the_same_bytes(finished, tmp_path, capsys) -> None:
    again = thimble.copy(tmp_path / "project")
    thimble.run_stages(again)
    lines = [line for line in capsys.readouterr().out.splitlines() if ": warning: " not in line]
    assert {line.split(":")[0] for line in lines} == {s.split("@")[0] for s in thimble.STAGES}
    one, two = thimble.outputs(finished), thimble.outputs(again)
    assert one.keys() == two.keys()
    assert [path for path in one if one[path] != two[path]] == []
    stages = yaml.safe_load((thimble.ROOT / "dvc.yaml").read_text())["stages"]
    for stage in stages.values():
        for out in stage.get("do", stage)["outs"]:
            name = (out if isinstance(out, str) else next(iter(out))).split("$")[0]
            assert any(path.startswith(name) for path in one), out


def test_the_leaderboard_the_submission_and_the_annotations_are_complete(finished) -> None:
    board = json.loads((finished / "metrics/leaderboard.json").read_text())
    assert {"zero_shot", "base_whole", "base_windows", "ensemble"} <= board.keys()
    assert all(0 <= row["mAP"] <= 100 for row in board.values())
    summary = json.loads((finished / "metrics/summary.json").read_text())
    assert summary["ensemble_mAP"] == board["ensemble"]["mAP"] and len(summary) <= 12
    submission = json.loads((finished / "data/ensemble/submission.json").read_text())
    assert len(submission) == 5 and {len(row) for row in submission} == {47}
    routes = json.loads((finished / "data/ensemble/routes.json").read_text())
    assert len(routes) == 47
    metrics = json.loads((finished / "data/filter/metrics.json").read_text())
    assert metrics["kept"] + sum(metrics["rejected"].values()) == metrics["candidates"]
    assert (finished / "data/evaluate/pictures/index.html").exists()
    annotations = json.loads((finished / "data/world/annotations/test.json").read_text())
    assert len(annotations["images"]) == 5 and len(annotations["categories"]) == 47
    for entry in annotations["annotations"]:
        x, y, w, h = entry["bbox"]
        assert 0 <= x and 0 <= y and x + w <= 96 and y + h <= 96 and w > 0 and h > 0
    curve = (finished / "data/train/base/curve.tsv").read_text().splitlines()
    assert curve[0].split("\t") == ["model", "epoch", "lr", "loss", "held_out_mAP"]


def test_a_broken_image_is_listed_and_too_many_stop_the_run(finished, tmp_path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    (folder / "data/world/images/test/test_000002.png").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"12\.50% of the images are bad, infer\.max_bad_share allows 1\.00%"
    ):
        thimble.run_stages(folder, ("infer@crops",))
    listed = json.loads((folder / "data/infer/crops/bad_images.json").read_text())
    assert listed == {"validation": {}, "test": {"test_000002.png": "the file is empty (0 bytes)"}}
    thimble.set_params(folder, {"infer.max_bad_share": 0.5})
    thimble.run_stages(folder, ("infer@crops", "infer@maps", "ensemble", "evaluate"))
    assert len(json.loads((folder / "data/ensemble/test_images.json").read_text())) == 4
    submission = json.loads((folder / "data/ensemble/submission.json").read_text())
    scored = np.delete(submission, 2, axis=0)
    assert len(submission) == 5 and submission[2] == scored.min(axis=0).tolist()


def held_out_row(folder: Path) -> str:
    """A caption of the filter stage that encode_captions holds out."""
    import pyarrow.parquet as pq

    from clipworks.tuning.captions import held_out

    share = yaml.safe_load((folder / "params.yaml").read_text())["encode_captions"]["held_out"]
    for row in pq.read_table(folder / "data/filter/captions.parquet").to_pylist():
        key = "|".join(sorted(row["names"])) if len(row["names"]) > 1 else row["caption"]
        if row["source"] == "multi" and held_out(key, share):
            return row["caption"]
    raise AssertionError("nothing is held out")


@pytest.mark.timeout(280)
def test_a_held_out_caption_reaches_no_weight_and_no_logit(finished, tmp_path) -> None:
    """The promise "chosen on held-out captions", from end to end: one that says something else
    changes what models are judged by, and nothing that they are or see."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    after = (
        "encode_captions",
        *(f"train@{model}" for model in MODELS),
        "infer@crops",
        "infer@maps",
    )
    before = thimble.outputs(folder)
    path = folder / "data/filter/captions.parquet"
    table = pq.read_table(path)
    secret = held_out_row(folder)
    rows = table.to_pylist()
    for row in rows:
        if row["caption"] == secret:
            row["caption"] = "Nobody ever said this sentence about zebras."
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path, compression="zstd")
    thimble.run_stages(folder, after)
    now = thimble.outputs(folder)
    changed = {name for name in now if now[name] != before[name]}
    assert "data/encode_captions/tokens.npy" in changed  # the sentence is there
    assert any(name.endswith("held_out.json") for name in changed)  # and judges
    leaks = {n for n in changed if n.startswith(("models/train", "data/infer"))}
    assert leaks == set()


def test_sentences_that_the_dialogues_check_refuses_are_not_kept(finished, tmp_path) -> None:
    import pyarrow.parquet as pq

    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    thimble.set_params(folder, {"caption.check": True, "filter.judge": False})
    thimble.run_stages(folder, ("caption", "filter"))
    replies = pq.read_table(folder / "data/caption/replies.parquet").to_pylist()
    refused = {
        (tuple(row["names"]), row["caption"])
        for row in replies
        if row["source"] == "check" and not row["keep"]
    }
    kept = pq.read_table(folder / "data/filter/captions.parquet").to_pylist()
    assert len(refused) > 20 and len(kept) > 20
    assert refused.isdisjoint({(tuple(row["names"]), row["caption"]) for row in kept})


def test_shards_of_another_backbone_are_not_taken_for_finished(
    finished, tmp_path, monkeypatch
) -> None:
    from safetensors.torch import load_file, save_file

    from clipworks.windows import shards

    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    real, calls = shards._score_shard, []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "_score_shard", dying)
        with pytest.raises(KeyboardInterrupt):
            thimble.run_stages(folder, ("infer@crops",))
    assert list((folder / "scratch").rglob("*.safetensors"))  # a finished shard waits
    weights = folder / "models/backbone/open_clip_model.safetensors"
    save_file({k: v * 1.01 for k, v in load_file(weights).items()}, weights)
    thimble.run_stages(folder, ("infer@crops",))
    resumed = thimble.outputs(folder)
    shutil.rmtree(folder / "data/infer/crops")
    thimble.run_stages(folder, ("infer@crops",))
    assert thimble.outputs(folder) == resumed
    assert not list((folder / "scratch/infer/crops").iterdir())  # nothing is left behind
