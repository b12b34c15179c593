"""Parts of `clipworks tag`: what is finished stays, through kills and changes, and is nobody else's."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from albums import png, tag
from conftest import CLASSES
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.kit.errors import InputError
from clipworks.tagging import job, sources
from clipworks.tagging.eye import Judged
from clipworks.tagging.tagger import Tagger

ROOT = Path(__file__).parent.parent


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
