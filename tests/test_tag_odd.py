"""Sources as they come: names twice, names that are no text, damaged tables, closed folders."""

import csv
import dataclasses
import errno
import io
import json
import os
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from albums import png, shard, tag
from PIL import Image
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.kit import images, places
from clipworks.kit.errors import InputError
from clipworks.scenes.classify import class_list
from clipworks.tagging import page, sources, work


def told(path: Path) -> list[tuple[str, bool]]:
    return [(row["image"], bool(row["error"])) for row in json.loads(path.read_text())]


def test_archives_of_one_name_are_told_apart(tagger, tmp_dir) -> None:
    for seed, folder in enumerate(("train", "val")):
        (tmp_dir / folder).mkdir()
        shard(tmp_dir / folder / "0.tar", {"a.png": png(seed=seed), "bad.png": b"x"})
    tag(tagger, ["train", "val"], tmp_dir / "t.json")
    assert told(tmp_dir / "t.json") == [
        ("train/0.tar/a.png", False), ("val/0.tar/a.png", False),
        ("train/0.tar/bad.png", True), ("val/0.tar/bad.png", True),
    ]  # fmt: skip
    assert (tmp_dir / "t.html").read_text().count("<figure") == 2


def test_rows_of_one_name_all_stay(tagger, tmp_dir) -> None:
    content = [png(seed=1), b"x", png(seed=2), b"x", png(seed=3)]
    table = {"image": content, "name": ["dog", "dog", "dog", "cat", "cat"]}
    pq.write_table(pa.table(table), tmp_dir / "t.parquet")
    tag(tagger, ["t.parquet"], tmp_dir / "t.json")
    assert told(tmp_dir / "t.json") == [
        ("t.parquet/dog (row 0)", False), ("t.parquet/dog (row 2)", False),
        ("t.parquet/cat (row 4)", False), ("t.parquet/dog (row 1)", True), ("t.parquet/cat (row 3)", True),
    ]  # fmt: skip
    assert (tmp_dir / "t.html").read_text().count("<figure") == 3


def test_rows_of_other_row_groups_and_tables_have_names_of_their_own(tagger, tmp_dir) -> None:
    for name in ("a", "b"):
        table = pa.table({"image": [png(seed=i) for i in range(4)], "id": [7, 0, 7, 9]})
        pq.write_table(table, tmp_dir / f"{name}.parquet", row_group_size=2)
    paths = [
        {"bytes": png(), "path": f"{i // 2}.png"} for i in range(3)
    ]  # as Hugging Face writes them
    pq.write_table(pa.table({"image": paths}), tmp_dir / "c.parquet", row_group_size=1)
    tag(tagger, ["."], tmp_dir / "t.json")
    own = ["7 (row 0)", "0", "7 (row 2)", "9"]
    assert [name for name, _ in told(tmp_dir / "t.json")] == [
        *(f"a.parquet/{name}" for name in own), *(f"b.parquet/{name}" for name in own),
        "c.parquet/0.png (row 0)", "c.parquet/0.png (row 1)", "c.parquet/1.png",
    ]  # fmt: skip


def test_a_damaged_row_group_takes_no_other_along(tagger, tmp_dir) -> None:
    table = pa.table({"image": [png(seed=i) for i in range(4)], "name": ["a", "b", "c", "d"]})
    pq.write_table(table, tmp_dir / "t.parquet", row_group_size=2, compression="none")
    names = pq.read_metadata(tmp_dir / "t.parquet").row_group(1).column(1)
    start = names.dictionary_page_offset or names.data_page_offset
    content = bytearray((tmp_dir / "t.parquet").read_bytes())
    content[start : start + names.total_compressed_size] = b"\xff" * names.total_compressed_size
    (tmp_dir / "t.parquet").write_bytes(content)
    tag(tagger, ["t.parquet"], tmp_dir / "t.json")
    found = told(tmp_dir / "t.json")
    assert found[:2] == [("t.parquet/a", False), ("t.parquet/b", False)]
    assert found[2:] == [("t.parquet (the rest of row group 1)", True)]


def test_a_name_column_of_another_kind_is_a_name_all_the_same(tagger, tmp_dir) -> None:
    table = pa.table({"jpg": [png(), png(seed=1)], "id": [{"n": 1}, {"n": 1}]})
    pq.write_table(table, tmp_dir / "t.parquet")
    tag(tagger, ["t.parquet"], tmp_dir / "t.json")
    assert [bad for _, bad in told(tmp_dir / "t.json")] == [False, False]


def test_members_of_one_name_are_told_apart_and_each_has_its_picture(tagger, tmp_dir) -> None:
    with tarfile.open(tmp_dir / "t.tar", "w") as archive:
        for content in (b"x", png(80), png(40)):  # as `tar --append` leaves them
            member = tarfile.TarInfo("dog.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    tag(tagger, ["t.tar"], tmp_dir / "t.json")
    names = [f"t.tar/dog.png{place}" for place in (" (member 1)", " (member 2)", "")]
    assert told(tmp_dir / "t.json") == [(names[0], False), (names[1], False), (names[2], True)]
    units = sources.find(["t.tar"])
    found = list(page._first(units, [page.Line(name, []) for name in names[:2]]))
    assert [images.read(source).width for _, source in found] == [80, 40]


def test_archives_and_tables_without_an_image_are_named(tagger, tmp_dir) -> None:
    shard(tmp_dir / "inner.tar", {"a.png": png()})
    with tarfile.open(tmp_dir / "outer.tar", "w") as archive:
        archive.add(tmp_dir / "inner.tar", "inner.tar")
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_dir / "none.parquet")
    for name in ("outer.tar", "none.parquet"):
        with pytest.raises(InputError, match=rf"^{name}: no image in it"):
            tag(tagger, [name], tmp_dir / "t.json")
        assert not (tmp_dir / "t.json").exists() and not (tmp_dir / "t.json.parts").exists()


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_member_whose_name_is_no_text_is_tagged(tagger, tmp_dir, kind) -> None:
    shard(tmp_dir / "s.TAR", {os.fsdecode(b"caf\xe9.png"): png()})
    assert tag(tagger, ["s.TAR"], tmp_dir / f"t.{kind}").startswith("1 image tagged, 0 could not")
    if kind == "csv":
        rows = list(csv.DictReader((tmp_dir / "t.csv").read_text().splitlines()))
        assert rows[0]["image"] == "s.TAR/caf\\xe9.png"


def test_a_clip_that_squashes_is_told_its_ways_before_its_texts_are_read(
    tagger, tmp_dir, monkeypatch
) -> None:
    squashed = dataclasses.replace(tagger.clip, resize_mode="squash")
    monkeypatch.setattr(work.pretrained, "named", lambda word: squashed)
    monkeypatch.setattr(work.Tagger, "of", lambda *some, **more: made.append(1) or tagger)
    made: list[int] = []
    (tmp_dir / "c.txt").write_text("cat\ndog\n")
    opened = partial(work.open_tagger, None, Path("c.txt"), "X:y", default=Path("t"), device="auto")
    with pytest.raises(InputError, match=r"resizes pictures by 'squash', .*; add --full \(every"):
        opened(seeing="maps")
    assert not made and opened(seeing="fast") is tagger


def test_a_damaged_row_group_is_listed_as_bad(tagger, tmp_dir) -> None:
    path = tmp_dir / "t.parquet"
    content = pa.table({"image": [png(seed=i) for i in range(8)]})
    pq.write_table(content, path, row_group_size=4, use_dictionary=False)
    stored = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    stored[start : start + 200] = b"\xff" * 200
    path.write_bytes(stored)
    tag(tagger, ["t.parquet"], tmp_dir / "t.json")
    found = told(tmp_dir / "t.json")
    assert [bad for _, bad in found] == [False] * 4 + [True]
    assert found[-1][0] == "t.parquet (the rest of row group 1)"


def test_links_that_lead_nowhere_are_listed_however_they_are_named(tagger, tmp_dir) -> None:
    (tmp_dir / "f").mkdir()
    (tmp_dir / "f/a.png").write_bytes(png())
    (tmp_dir / "f/gone.png").symlink_to("nowhere.png")
    (tmp_dir / "f/shard.tar").symlink_to("nowhere.tar")
    for words in (["f"], ["f/*"], ["f/a.png", "f/gone.png", "f/shard.tar"]):
        tag(tagger, words, tmp_dir / "t.json")
        assert told(tmp_dir / "t.json") == [
            ("f/a.png", False), ("f/gone.png", True), ("f/shard.tar", True),
        ]  # fmt: skip


def test_pictures_of_a_cameras_own_kind_are_listed_as_bad(tagger, tmp_dir) -> None:
    (tmp_dir / "f").mkdir()
    (tmp_dir / "f/a.png").write_bytes(png())
    for name in ("b.HEIC", "c.dng"):
        (tmp_dir / "f" / name).write_bytes(b"\0\0\0\x18ftypheic")
    tag(tagger, ["f"], tmp_dir / "t.json")
    assert told(tmp_dir / "t.json") == [("f/a.png", False), ("f/b.HEIC", True), ("f/c.dng", True)]


def test_a_folder_that_is_closed_is_refused_by_name(tmp_dir, monkeypatch) -> None:
    (tmp_dir / "f/closed").mkdir(parents=True)
    (tmp_dir / "f/a.png").write_bytes(png())
    opened = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="f/closed cannot be looked into: Permission denied"):
        sources.find(["f"])


def test_a_file_system_without_locks_is_no_other_run(tmp_dir, monkeypatch) -> None:
    def none(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(places.fcntl, "flock", none)
    with places.alone(tmp_dir / "f"):
        pass
    (tmp_dir / "g").write_text("a file")
    with (
        pytest.raises(InputError, match="g cannot be made or written to"),
        places.alone(tmp_dir / "g"),
    ):
        pass


def test_names_that_no_file_system_has_are_refused(tagger, tmp_dir) -> None:
    long = "ж" * 200
    with pytest.raises(InputError, match="no such file or folder"):
        sources.find([long])
    assert len(class_list(",".join(f"кухня{i}" for i in range(40)))) == 40
    (tmp_dir / "a.png").write_bytes(png())
    with pytest.raises(InputError, match="cannot be written: File name too long"):
        tag(tagger, ["a.png"], Path(f"{long}.csv"))
    Path("t.html").mkdir()
    with pytest.raises(InputError, match=r"the page beside --out t\.csv: t\.html is a folder"):
        tag(tagger, ["a.png"], Path("t.csv"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "8"], "--workers: they are of --engine ray; give both, or neither"),
        (["--engine", "ray", "--device", "cpu"], "--device: with --engine ray each worker takes"),
    ],
)
def test_an_option_that_would_not_be_read_is_refused(
    backbone_folder, tmp_dir, words, message
) -> None:
    (tmp_dir / "a.png").write_bytes(png())
    (tmp_dir / "c.txt").write_text("dog\ncat\n")
    own = ["--classes", "c.txt", "--backbone", str(backbone_folder)]
    done = CliRunner().invoke(app, ["tag", "a.png", "--out", "t.csv", *own, *words])
    assert done.exit_code == 1 and message in str(done.exception)


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_pictures_of_floating_numbers_keep_their_brightness(top) -> None:
    out = io.BytesIO()
    values = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(values).save(out, "TIFF")
    found = np.asarray(images.read(out.getvalue()))
    assert found.max() == 255 and 100 < np.median(found) < 155
