"""`clipworks tag`: every image once, whatever it comes in, through kills, bad files and hostile names."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from albums import png, tag
from conftest import CLASSES
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.kit.errors import InputError
from clipworks.kit.tables import write_csv
from clipworks.tagging import job, sources, work
from clipworks.tagging.eye import Judged
from clipworks.tagging.tagger import Tagger

ROOT = Path(__file__).parent.parent


def test_a_folder_becomes_a_table_and_a_page(tagger, album, tmp_dir) -> None:
    told = tag(tagger, ["album"], tmp_dir / "out/tags.json")
    assert told.startswith("11 images tagged, 1 could not be read -> ")
    assert "bad: album/broken.jpg: broken image data" in told
    rows = json.loads((tmp_dir / "out/tags.json").read_text())
    names = [row["image"] for row in rows]
    assert len(names) == len(set(names)) == 12 and "album/deep ü/3.png" in names
    assert [row["image"] for row in rows if row["error"]] == ["album/broken.jpg"]
    for row in rows[:11]:
        for one in row["tags"]:
            assert one["tag"] in CLASSES and 0.5 < one["probability"] <= 1
            assert 0 <= one["left"] < one["right"] and 0 <= one["top"] < one["bottom"]
    page = (tmp_dir / "out/tags.html").read_text()
    assert page.count("<figure") == 11 and "deep ü/3.png" in page and "broken.jpg" in page
    assert not any(word in page for word in ("http:", "https:", 'src="/'))
    assert sorted(p.name for p in (tmp_dir / "out").iterdir()) == ["tags.html", "tags.json"]


def test_all_three_tables_say_the_same(tagger, album, tmp_dir) -> None:
    for kind in ("json", "csv", "parquet"):
        tag(tagger, ["album"], tmp_dir / f"t.{kind}")
    rows = json.loads((tmp_dir / "t.json").read_text())
    columns = pq.read_table(tmp_dir / "t.parquet").to_pylist()
    assert [r["image"] for r in rows] == [c["image"] for c in columns]
    for row, column in zip(rows, columns, strict=True):
        assert [t["tag"] for t in row["tags"]] == [t["tag"] for t in column["tags"]]
    text = (tmp_dir / "t.csv").read_text().splitlines()
    assert text[0] == "image,tags,probabilities,windows,error" and len(text) == 13
    assert "; ".join(t["tag"] for t in rows[0]["tags"]) in text[1]


def test_markup_in_names_is_shown_and_not_run(clip, backbone_folder, tmp_dir) -> None:
    hostile = "<script>alert(1)</script>"
    made = Tagger.of(
        clip, [hostile, "dog", '"><img src=x onerror=alert(2)>'], word=str(backbone_folder)
    )
    folder = tmp_dir / "a"
    folder.mkdir()
    for i in range(4):
        (folder / f"<b onclick=x>{i}.png").write_bytes(png(40, i))
    tag(made, ["a"], tmp_dir / "t.json", tags_per_image=2.0)
    page = (tmp_dir / "t.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert not any(bad in page for bad in (hostile, "<img src=x", "<b onclick"))


def test_images_in_any_number_of_parts_have_the_same_bytes(
    tagger, album, tmp_dir, monkeypatch
) -> None:
    tag(tagger, ["album"], tmp_dir / "a.parquet", batch_size=3)
    monkeypatch.setattr(sources, "FILES_A_UNIT", 3)
    tag(tagger, ["album"], tmp_dir / "b.parquet", batch_size=64)
    a, b = (pq.read_table(tmp_dir / f"{x}.parquet").to_pylist() for x in "ab")
    assert [r["image"] for r in a] == [r["image"] for r in b]
    assert [[t["tag"] for t in r["tags"]] for r in a] == [[t["tag"] for t in r["tags"]] for r in b]


def test_what_was_finished_is_not_looked_at_again(tagger, album, tmp_dir, monkeypatch) -> None:
    monkeypatch.setattr(sources, "FILES_A_UNIT", 4)
    looked, real = [], job.look

    def dying(eye, unit, bar=None):
        looked.append(unit.names)
        if len(looked) == 2:
            raise KeyboardInterrupt
        return real(eye, unit, bar)

    monkeypatch.setattr(job, "look", dying)
    with pytest.raises(KeyboardInterrupt):
        tag(tagger, ["album"], tmp_dir / "t.json")
    assert not (tmp_dir / "t.json").exists()
    tag(tagger, ["album"], tmp_dir / "t.json")
    assert looked[1] == looked[2]
    once = [name for names in (looked[0], *looked[2:]) for name in names]
    assert len(once) == len(set(once)) == 12
    assert not (tmp_dir / "t.json.parts").exists()


def test_an_image_that_is_added_or_taken_away_costs_its_own_run_alone() -> None:
    names = [f"{number:05d}.jpg" for number in range(5_000)]
    before = sources.runs(names)
    assert [name for run in before for name in run] == names
    assert max(map(len, before)) <= sources.FILES_A_UNIT
    for changed in (["00000 and more.jpg", *names], names[1:]):
        again = [run for run in sources.runs(changed) if run not in before]
        assert 0 < sum(map(len, again)) <= 3 * sources.FILES_A_UNIT


def test_what_is_not_ours_in_the_folder_of_parts_stays(tagger, album, tmp_dir) -> None:
    parts = tmp_dir / "t.json.parts"
    parts.mkdir()
    (parts / "weights.safetensors").write_text("mine")
    with pytest.raises(
        InputError, match=r"holds what is none: weights\.safetensors; move that away"
    ):
        tag(tagger, ["album"], tmp_dir / "t.json")
    assert (parts / "weights.safetensors").read_text() == "mine"


def test_a_page_that_the_disk_had_no_room_for_leaves_the_old_one(
    tagger, album, tmp_dir, monkeypatch
) -> None:
    tag(tagger, ["album"], tmp_dir / "t.json")
    old = (tmp_dir / "t.html").read_bytes()
    write = Path.write_text

    def full(path: Path, *arguments, **options) -> int:
        write(path, "")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Path, "write_text", full)
        tag(tagger, ["album"], tmp_dir / "t.json")
    assert (tmp_dir / "t.html").read_bytes() == old and not list(tmp_dir.glob(".clipworks-*"))
    tag(tagger, ["album"], tmp_dir / "t.json")


def test_a_pattern_passes_over_what_a_run_wrote_and_folders_without_pictures(
    tagger, album, tmp_dir
) -> None:
    (tmp_dir / "album/empty").mkdir()
    tag(tagger, ["album/*"], tmp_dir / "album/t.parquet")
    first = pq.read_table(tmp_dir / "album/t.parquet")
    tag(tagger, ["album/*"], tmp_dir / "album/t.parquet")
    assert pq.read_table(tmp_dir / "album/t.parquet").equals(first)
    tag(tagger, ["album/*"], tmp_dir / "album/again.parquet")  # a result beside the pictures
    assert pq.read_table(tmp_dir / "album/again.parquet").equals(first)


def test_a_carriage_return_in_a_name_stays_in_its_field(tagger, tmp_dir) -> None:
    (tmp_dir / "p").mkdir()
    for name in ("a\rb.png", "c.png"):
        (tmp_dir / "p" / name).write_bytes(png())
    tag(tagger, ["p"], tmp_dir / "t.csv")
    assert list(pd.read_csv(tmp_dir / "t.csv")["image"]) == ["p/a\rb.png", "p/c.png"]
    write_csv(tmp_dir / "u.csv", pd.DataFrame({"image": ["a\rb.png"], "cosine": [0.5]}))
    assert list(pd.read_csv(tmp_dir / "u.csv")["image"]) == ["a\rb.png"]


def test_parts_of_another_precision_way_or_tagger_are_not_taken_for_finished(tagger) -> None:
    other = Tagger.of(tagger.clip, CLASSES, word=tagger.about.backbone, scales=[2],
                      logit_scales={"hand80": (4.0, 49.0)})  # fmt: skip
    keys = {
        job._key(tagger, "maps", "fp32"), job._key(tagger, "maps", "bf16"),
        job._key(tagger, "fast", "fp32"), job._key(other, "maps", "fp32"),
    }  # fmt: skip
    assert len(keys) == 4
    # The same templates on another processor: the last bits are others.
    last = dataclasses.replace(tagger.scorer, globals=tagger.scorer.globals * (1 + 1e-6))
    assert job._key(Tagger(tagger.about, last, {}, tagger.clip), "maps", "fp32") in keys
    tuned = tagger.about.model_copy(update={"models": ["hand80", "base"]})
    both = [Tagger(tuned, scorer, {}, tagger.clip) for scorer in (tagger.scorer, last)]
    assert len({job._key(one, "maps", "fp32") for one in both}) == 2


def test_thresholds_are_read_off_rows_that_do_not_keep_their_parts(tmp_dir, monkeypatch) -> None:
    parts: list[weakref.ref] = []

    def judged(self: object) -> Iterator[Judged]:
        for _ in range(4):
            values = np.zeros((3, 5), np.float32)
            parts.append(weakref.ref(values))
            yield from (Judged("a", (8, 8), row, row) for row in values)
            del values
            assert not parts[:-1] or parts[-2]() is None

    monkeypatch.setattr(job.Parts, "judged", judged)
    monkeypatch.setattr(job, "_facts", lambda path: (["a"] * 12, []))
    assert job.Parts(tmp_dir, [tmp_dir / "a"]).sample().shape == (12, 5)


def test_an_image_that_changed_between_two_runs_is_looked_at_again(tagger, album, tmp_dir) -> None:
    units = sources.find(["album"])
    first = job._digest("key", units[0])
    (album / "4.png").write_bytes(png(41, 77))
    assert job._digest("key", sources.find(["album"])[0]) != first != job._digest("other", units[0])


@pytest.mark.timeout(200)
def test_a_killed_run_goes_on_to_the_same_bytes(backbone_folder, tmp_dir, monkeypatch) -> None:
    folder = tmp_dir / "many"
    folder.mkdir()
    for i in range(300):
        (folder / f"{i}.png").write_bytes(png(33 + i % 5, i % 7))
    (tmp_dir / "classes.txt").write_text("\n".join(CLASSES))
    words = ["tag", "many", "--classes", "classes.txt", "--backbone", str(backbone_folder)]
    words += ["--device", "cpu", "--fast", "--out"]
    monkeypatch.setattr(sources, "FILES_A_UNIT", 20)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CLIPWORKS_TAG_FILES": "20"}
    command = [sys.executable, "-m", "clipworks.commands", *words, "killed.parquet"]
    process = subprocess.Popen(
        command, cwd=tmp_dir, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )  # fmt: skip
    parts = tmp_dir / "killed.parquet.parts"
    while process.poll() is None and not list(parts.glob("*.safetensors")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)  # once; bench.tag kills ten times
    assert process.wait() == -signal.SIGKILL
    for out in ("killed.parquet", "whole.parquet"):
        done = CliRunner().invoke(app, [*words, out])
        assert done.exit_code == 0, done.output
    assert (tmp_dir / "killed.parquet").read_bytes() == (tmp_dir / "whole.parquet").read_bytes()


def test_the_console_tags_from_a_class_list_and_says_what_random_weights_are(
    album, backbone_folder, tmp_dir
) -> None:
    (tmp_dir / "classes.txt").write_text("\n".join(CLASSES))
    words = ["tag", "album", "--classes", "classes.txt", "--backbone", str(backbone_folder)]
    found = CliRunner().invoke(app, [*words, "--out", "t.csv"])
    assert found.exit_code == 0, found.output
    assert "11 images tagged, 1 could not be read" in found.output
    wrong = {
        (): "there is no tagger models/tagger.safetensors; `clipworks export`",
        ("--classes", "classes.txt"): "--classes needs --backbone too",
        (*words[2:], "--tagger", "x"): "--tagger and --classes: choose one",
        (*words[2:], "--fast", "--full"): "--fast and --full: choose one",
        (*words[2:], "--tags-per-image", "9"): "more than 0 and fewer than 6 classes",
    }
    for options, message in wrong.items():
        found = CliRunner().invoke(app, ["tag", "album", *options, "--out", "t.csv"])
        assert found.exit_code == 1 and message in found.output, options
    (tmp_dir / "odd.txt").write_text("dog; big\ncat\n")
    odd = ["tag", "album", "--classes", "odd.txt", *words[4:], "--out", "o.csv"]
    found = CliRunner().invoke(app, odd)
    assert (
        found.exit_code == 1 and "which ['dog; big'] hold; write .parquet or .json" in found.output
    )
    found = CliRunner().invoke(app, [*words, "--out", "t.txt"])
    assert found.exit_code == 1 and "what is written is .parquet, .csv, .json" in found.output


def test_logits_that_all_images_share_are_called_blind() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=20)
    assert "random" in work.blindness((base + 0.01 * rng.normal(size=(30, 20))).astype(np.float32))
    assert work.blindness(rng.normal(size=(30, 20)).astype(np.float32)) == ""


def test_thresholds_follow_the_images_that_are_tagged(tagger, tmp_dir, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 6)).astype(np.float32)
    parts = job.Parts(tmp_dir, [])
    monkeypatch.setattr(job.Parts, "sample", lambda _: logits)
    assert job.calibrate(parts).rule == "range of 300 images"
    monkeypatch.setattr(job.Parts, "sample", lambda _: logits[:40])
    few = job.calibrate(parts, tags_per_image=2.0)
    assert few.rule == "one threshold: 2 tags an image of 40"
    assert (logits[:40] > few.thresholds).sum(axis=1).mean() == pytest.approx(2, abs=0.05)
    assert torch.tensor(few.spread).min() > 0
