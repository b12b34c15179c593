"""`clipworks tag`: every image once, whatever it comes in, through bad files and hostile names."""

import errno
import json
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
from clipworks.kit.tables import write_csv
from clipworks.tagging import job, work
from clipworks.tagging.tagger import Tagger


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
    two = rng.uniform(0.1, 1, size=(30, 1)) * [1, -1]  # two classes, of which one is in all images
    assert work.blindness(two.astype(np.float32)) == ""


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
