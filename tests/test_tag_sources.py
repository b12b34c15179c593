"""Where images come from: the same tags from files, shards and tables; hostile archives lead nowhere."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from albums import png, shard, tag
from PIL import Image
from test_tagger import FLAT

from clipworks.kit import places
from clipworks.kit.errors import InputError
from clipworks.tagging import sources


def rows_of(path: Path) -> dict[str, list[str]]:
    return {
        Path(row["image"]).name: [t["tag"] for t in row["tags"]]
        for row in json.loads(path.read_text()) if not row["error"]
    }  # fmt: skip


def test_shards_tables_patterns_and_folders_give_the_same_tags(tagger, album, tmp_dir) -> None:
    files = sorted(album.rglob("[0-9].png"))
    shard(tmp_dir / "a.tar", {f.name: f.read_bytes() for f in files[:6]} | {"6.json": b"{}"})
    shard(tmp_dir / "b.tar", {f.name: f.read_bytes() for f in files[6:]})
    table = {"image": [{"bytes": f.read_bytes(), "path": f.name} for f in files]}
    pq.write_table(pa.table(table), tmp_dir / "t.parquet", row_group_size=4)
    plain = {"jpg": [f.read_bytes() for f in files], "__key__": [f.name for f in files]}
    pq.write_table(pa.table(plain), tmp_dir / "p.parquet")
    ways = {
        "files": [str(f) for f in files],
        "pattern": ["album/**/[0-9].png"],
        "tar": ["?.tar"],
        "struct": ["t.parquet"],
        "bytes": ["p.parquet"],
    }
    found = {}
    for name, words in ways.items():
        tag(tagger, words, tmp_dir / f"{name}.json")
        found[name] = rows_of(tmp_dir / f"{name}.json")
    assert len(found["files"]) == 10
    assert all(found[name] == found["files"] for name in ways)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], r"'nowhere': no such file or folder"),
        (["*.gif"], r"'\*\.gif': no such file or folder, and no file matches it"),
        (["empty"], r"empty holds no images"),
        (["bad.parquet"], r"bad\.parquet: no parquet table"),
        (
            ["other.parquet"],
            r"other\.parquet: no column of images; known are image .* it has \{'a': 'int64'\}",
        ),
    ],
)
def test_sources_that_hold_nothing_are_refused(tagger, tmp_dir, words, message) -> None:
    (tmp_dir / "empty").mkdir()
    (tmp_dir / "bad.parquet").write_bytes(b"no")
    pq.write_table(pa.table({"a": [1]}), tmp_dir / "other.parquet")
    with pytest.raises(InputError, match=message):
        tag(tagger, words, tmp_dir / "t.json")


def test_a_shard_can_lead_nowhere_and_a_bomb_does_not_go_off(tagger, tmp_dir) -> None:
    (tmp_dir / "secret.png").write_bytes(png(60, 9))
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG", compress_level=1)
    shard(
        tmp_dir / "s.tar",
        {"../../climbs.png": png(), "/abs.png": png(), "bomb.png": bomb.getvalue()},
    )
    with tarfile.open(tmp_dir / "s.tar", "a") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../secret.png"
        archive.addfile(link)
    before = {p.name for p in tmp_dir.parent.iterdir()}
    tag(tagger, ["s.tar"], tmp_dir / "t.json")
    rows = {row["image"]: row["error"] for row in json.loads((tmp_dir / "t.json").read_text())}
    assert rows["s.tar/../../climbs.png"] is None and rows["s.tar//abs.png"] is None  # names alone
    assert "pixels are more than" in rows["s.tar/bomb.png"]
    assert "no plain file (a link" in rows["s.tar/link.png"]
    assert {p.name for p in tmp_dir.parent.iterdir()} == before
    assert sorted(p.name for p in tmp_dir.iterdir()) == ["s.tar", "secret.png", "t.html", "t.json"]


def test_a_link_that_leads_nowhere_is_listed_as_bad(tagger, tmp_dir) -> None:
    (tmp_dir / "f").mkdir()
    (tmp_dir / "f/a.png").write_bytes(png())
    (tmp_dir / "f/gone.png").symlink_to("nowhere.png")
    (tmp_dir / "f/loop.png").symlink_to("loop.png")
    told = tag(tagger, ["f"], tmp_dir / "t.json")
    assert told.startswith("1 image tagged, 2 could not be read")
    assert "bad: f/gone.png: the file does not exist" in told and "bad: f/loop.png: " in told


def test_linked_folders_are_looked_into_once_and_pipes_are_listed_as_bad(tagger, tmp_dir) -> None:
    for name in ("album/deep", "elsewhere"):
        (tmp_dir / name).mkdir(parents=True)
    for name in ("album/a.png", "elsewhere/b.png"):
        (tmp_dir / name).write_bytes(png())
    (tmp_dir / "album/deep/up").symlink_to("..")  # in a circle
    (tmp_dir / "album/other").symlink_to("../elsewhere")
    (tmp_dir / "album/again").symlink_to("../elsewhere")
    os.mkfifo(tmp_dir / "album/pipe.jpg")
    units = sources.find(["album"])
    assert [name for unit in units for name in unit.names] == ["a.png", "again/b.png", "pipe.jpg"]
    assert "1 could not be read" in tag(tagger, ["album"], tmp_dir / "t.csv")
    assert 'pipe.jpg,,,,"no plain file' in (tmp_dir / "t.csv").read_text()


def test_two_runs_do_not_write_to_one_place(tagger, tmp_dir) -> None:
    (tmp_dir / "album").mkdir()
    (tmp_dir / "album/a.png").write_bytes(png())
    with (
        places.alone(tmp_dir / "t.csv.parts"),
        pytest.raises(InputError, match=r"another run is at work in .*t\.csv\.parts; wait for it"),
    ):
        tag(tagger, ["album"], tmp_dir / "t.csv")
    assert not (tmp_dir / "t.csv.parts").exists()  # nothing was left there to go on with
    tag(tagger, ["album"], tmp_dir / "t.csv")


def test_a_name_that_is_no_text_is_listed_as_bad_in_every_kind_of_table(tagger, tmp_dir) -> None:
    (tmp_dir / "f").mkdir()
    (tmp_dir / "f/a.png").write_bytes(png())
    (tmp_dir / os.fsdecode(b"f/b\xff.png")).write_bytes(png())
    for kind in ("csv", "json", "parquet"):
        told = tag(tagger, ["f"], tmp_dir / f"t.{kind}")
        assert "1 image tagged, 1 could not be read" in told
        assert "bad: f/b\\xff.png: its name is no UTF-8; rename it" in told


def test_a_table_that_cannot_be_written_is_refused_before_images_are_read(tagger, tmp_dir) -> None:
    (tmp_dir / "t.csv").mkdir()
    (tmp_dir / "a.png").write_bytes(png())
    for out, why in (("t.csv", "t.csv is a folder"), ("a.png/t.csv", "cannot be made or written")):
        with pytest.raises(InputError, match=f"--out: .*{why}"):
            tag(tagger, ["a.png"], tmp_dir / out)


def test_a_page_of_somebody_elses_is_not_replaced(tagger, tmp_dir) -> None:
    (tmp_dir / "a.png").write_bytes(png())
    (tmp_dir / "report.html").write_text("<h1>my report</h1>")
    with pytest.raises(InputError, match=r"report\.html is a page, and none of clipworks"):
        tag(tagger, ["a.png"], Path("report.csv"))
    assert (tmp_dir / "report.html").read_text() == "<h1>my report</h1>"
    assert not (tmp_dir / "report.csv").exists()
    for _ in range(2):  # its own may be
        tag(tagger, ["a.png"], Path("tags.csv"))


def test_what_is_named_twice_is_tagged_once_and_an_empty_archive_is_said_to_be(
    tagger, tmp_dir
) -> None:
    (tmp_dir / "f").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_dir / "f" / name).write_bytes(png())
    told = tag(tagger, ["f", "f/a.png", str(tmp_dir / "f/b.png"), "f/*.png"], tmp_dir / "t.json")
    assert told.startswith("2 images tagged, 0 could not be read")
    shard(tmp_dir / "empty.tar", {})
    with pytest.raises(InputError, match=r"empty\.tar: no image in it"):
        tag(tagger, ["empty.tar"], tmp_dir / "t.json")


def test_what_this_project_wrote_into_the_folder_is_no_source(tagger, tmp_dir) -> None:
    (tmp_dir / "f/images.index").mkdir(parents=True)
    (tmp_dir / "f/a.png").write_bytes(png())
    pq.write_table(
        pa.table({"name": ["a"]}), tmp_dir / "f/images.index/entries-0123456789abcdef.parquet"
    )
    for _ in range(2):
        told = tag(tagger, ["f"], tmp_dir / "f/tags.parquet")
        assert told.startswith("1 image tagged, 0 could not be read")


def test_a_run_that_reads_nothing_fails_and_says_so(tagger, tmp_dir) -> None:
    (tmp_dir / "a.png").touch()
    with pytest.raises(InputError, match=r"no image could be read; the first: a\.png: the file"):
        tag(tagger, ["a.png"], tmp_dir / "t.json")
    made = tagger.with_calibration({"maps": FLAT})
    with pytest.raises(InputError, match=r"0 images tagged, 1 could not be read(.|\n)*a\.png: the"):
        tag(made, ["a.png"], tmp_dir / "t.json")


def test_an_impossible_number_of_tags_is_refused_before_images_are_read(tagger, tmp_dir) -> None:
    with pytest.raises(
        InputError, match=r"-1\.0 tags per image: choose more than 0 and fewer than 6"
    ):
        tag(tagger, ["nowhere"], tmp_dir / "t.json", tags_per_image=-1.0)


def test_a_shard_that_ends_too_soon_keeps_what_it_has(tagger, tmp_dir) -> None:
    shard(tmp_dir / "s.tar", {f"{i}.png": png(40, i) for i in range(4)})
    content = (tmp_dir / "s.tar").read_bytes()
    (tmp_dir / "s.tar").write_bytes(content[:12_000])
    tag(tagger, ["s.tar"], tmp_dir / "t.json")
    rows = json.loads((tmp_dir / "t.json").read_text())
    good = [row["image"] for row in rows if not row["error"]]
    assert good and "fault" in rows[-1]["error"] and rows[-1]["image"] == "s.tar (the rest)"


def test_what_is_hidden_in_an_archive_is_passed_over_and_a_dot_before_a_path_is_not(
    tagger, tmp_dir
) -> None:
    names = ("./a.png", "../b.png", "._a.png", "sub/.thumbnails/a.png", "__MACOSX/a.png")
    shard(tmp_dir / "s.tar", dict.fromkeys(names, png()))
    tag(tagger, ["s.tar"], tmp_dir / "t.json")
    found = [row["image"] for row in json.loads((tmp_dir / "t.json").read_text())]
    assert found == ["s.tar/./a.png", "s.tar/../b.png"]


@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_that_ends_within_a_header_is_said_to_be_cut(tagger, tmp_dir, packed) -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name in ("a.png", "b.png"):
            member = tarfile.TarInfo(name)
            member.size = len(png())
            archive.addfile(member, io.BytesIO(png()))
    with tarfile.open(fileobj=io.BytesIO(whole.getvalue())) as archive:
        cut = archive.getmembers()[1].offset + 200
    content = whole.getvalue()[:cut]
    Path("s.tar").write_bytes(gzip.compress(content) if packed else content)
    tag(tagger, ["s.tar"], tmp_dir / "t.json")
    rows = json.loads((tmp_dir / "t.json").read_text())
    assert [row["image"] for row in rows] == ["s.tar/a.png", "s.tar (the rest)"]
