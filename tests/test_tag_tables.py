"""Tables as sources and as results: which is which, and what rows are called."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from albums import png, tag
from test_tag_odd import told

from clipworks.kit.errors import InputError
from clipworks.kit.places import make_place, replacing


def test_a_table_of_images_is_never_replaced(tagger, tmp_dir) -> None:
    (tmp_dir / "f").mkdir()
    pq.write_table(pa.table({"image": [png()]}), "f/a.parquet")
    pq.write_table(pa.table({"image": [{"bytes": png(), "path": "0.png"}]}), "f/b.parquet")
    for name in ("f/a.parquet", "f/b.parquet"):
        before = Path(name).read_bytes()
        for words in ([name], ["f"]):
            with pytest.raises(
                InputError, match=rf"--out: {name} holds images, which a table of results"
            ):
                tag(tagger, words, Path(name))
        assert Path(name).read_bytes() == before


def test_tables_that_speak_of_images_are_no_images_of_a_folder(tagger, tmp_dir) -> None:
    (tmp_dir / "f").mkdir()
    (tmp_dir / "f/a.png").write_bytes(png())
    for _ in range(2):  # the second time its own table lies there, under another name of the folder
        tag(tagger, ["f/../f"], tmp_dir / "f/tags.parquet")
    tag(tagger, ["f"], tmp_dir / "t.json")
    assert told(tmp_dir / "t.json") == [("f/a.png", False)]
    with pytest.raises(InputError, match=r"tags\.parquet: no column of images"):
        tag(tagger, ["f/tags.parquet"], tmp_dir / "t.json")


def test_a_table_whose_images_are_called_image_is_looked_into(tagger, tmp_dir) -> None:
    (tmp_dir / "f").mkdir()
    pq.write_table(pa.table({"image": ["one"], "jpg": [png()], "__key__": ["one"]}), "f/t.parquet")
    names = pa.array(["one"]).dictionary_encode()  # as pandas writes categories
    pq.write_table(pa.table({"image": names, "tags": ["dog"]}), "f/labels.parquet")
    tag(tagger, ["f"], tmp_dir / "t.json")
    assert told(tmp_dir / "t.json") == [("f/t.parquet/one", False)]


def test_a_table_that_is_none_is_bad_by_its_own_reason(tagger, tmp_dir) -> None:
    (tmp_dir / "f").mkdir()
    (tmp_dir / "f/a.png").write_bytes(png())
    (tmp_dir / "f/x.parquet").write_bytes(b"junk" * 99)
    said = tag(tagger, ["f"], tmp_dir / "t.json")
    assert "bad: f/x.parquet: no whole table" in said


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["x.tar", "x.parquet"])
def test_a_pipe_is_waited_for_by_nobody_whatever_its_name(tagger, tmp_dir, name: str) -> None:
    (tmp_dir / "f").mkdir()
    (tmp_dir / "f/a.png").write_bytes(png())
    os.mkfifo(tmp_dir / "f" / name)
    for words in (["f"], ["f/*"]):
        tag(tagger, words, tmp_dir / "t.json")
        assert told(tmp_dir / "t.json") == [("f/a.png", False), (f"f/{name}", True)]


def test_names_of_rows_that_are_no_text_stand_with_their_bytes(tagger, tmp_dir) -> None:
    names = pa.array([b"a\xff", b"b", b"b"])
    odd = pa.StringArray.from_buffers(3, *names.buffers()[1:])  # text, says who wrote it
    for number, column in enumerate((names, odd)):
        images = [png(seed=i) for i in range(3)]
        pq.write_table(pa.table({"image": images, "__key__": column}), f"{number}.parquet")
        tag(tagger, [f"{number}.parquet"], tmp_dir / "t.json")
        assert [name for name, _ in told(tmp_dir / "t.json")] == [
            f"{number}.parquet/a\\xff", f"{number}.parquet/b (row 1)", f"{number}.parquet/b (row 2)",
        ]  # fmt: skip


def test_a_table_without_images_is_passed_over_and_a_damaged_one_listed(tagger, tmp_dir) -> None:
    (tmp_dir / "f").mkdir()
    (tmp_dir / "f/a.png").write_bytes(png())
    pq.write_table(pa.table({"picture": ["a.png"], "label": ["dog"]}), "f/found.parquet")
    (tmp_dir / "f/x.parquet").write_bytes(b"PAR1 cut")
    tag(tagger, ["f"], tmp_dir / "t.json")
    assert told(tmp_dir / "t.json") == [("f/a.png", False), ("f/x.parquet", True)]
    pq.write_table(pa.table({"picture": [png()]}), "f/found.parquet")  # bytes by another name
    with pytest.raises(InputError, match=r"found\.parquet: no column of images; known are image"):
        tag(tagger, ["f"], tmp_dir / "t.json")
    nested = pa.table({"images": [[{"bytes": png(), "path": "x.png"}]]})
    pq.write_table(
        nested, "f/found.parquet"
    )  # more than one an entry: not known, and not passed over
    with pytest.raises(InputError, match=r"found\.parquet: no column of images"):
        tag(tagger, ["f"], tmp_dir / "t.json")
    with pytest.raises(InputError, match=r"--out: f/found\.parquet holds images"):
        make_place(Path("f/found.parquet"), (".parquet",))
    pq.write_table(pa.table({"image": ["a.png"], "embedding": [b"123"]}), "f/found.parquet")
    for words in (["f"], ["f/*"]):
        tag(tagger, words, tmp_dir / "t.json")
        assert told(tmp_dir / "t.json") == [("f/a.png", False), ("f/x.parquet", True)]


def test_a_link_into_a_store_is_replaced_and_not_what_the_store_holds(tmp_dir) -> None:
    Path("store").mkdir()
    Path("store/4f").write_text("old")
    Path("store/4f").chmod(0o444)
    Path("link.json").symlink_to("store/4f")
    with replacing(Path("link.json")) as draft:
        draft.write_text("new")
    assert Path("store/4f").read_text() == "old" and not Path("link.json").is_symlink()
    assert Path("link.json").read_text() == "new"


def test_a_link_into_a_folder_that_is_closed_is_refused_before_the_work(tmp_dir) -> None:
    Path("file").touch()
    Path("link.json").symlink_to("file/t.json")
    with pytest.raises(InputError, match=r"--out: .*file.* cannot be (written|made)"):
        make_place(Path("link.json"), (".json",))


def test_a_pipe_is_no_place_for_a_table(tmp_dir) -> None:
    os.mkfifo("p.csv")
    with pytest.raises(InputError, match=r"--out: p\.csv is no plain file"):
        make_place(Path("p.csv"), (".csv",))


def test_two_tables_of_a_folder_have_drafts_of_their_own_and_old_ones_go(tmp_dir) -> None:
    with replacing(Path("a.json")) as a, replacing(Path("b.json")) as b, replacing(a) as c:
        assert len({a, b, c}) == 3
        for path in (a, b, c):
            path.write_text(path.name)
        left = b.with_name(b.name.replace(b.name[-12:], "killed00.tmp"))
        left.write_text("of a run that was killed")
        os.utime(left, (0, 0))
    with replacing(Path("b.json")) as draft:
        assert not left.exists()
        draft.write_text("new")
    assert {path.name for path in tmp_dir.iterdir()} == {"a.json", "b.json"}


def test_what_is_replaced_is_what_a_link_leads_to_and_nothing_beside_it(tmp_dir) -> None:
    Path("real.json").write_text("old")
    Path("link.json").symlink_to("real.json")
    Path("link.json.tmp").write_text("mine")
    with replacing(Path("link.json")) as draft:
        draft.write_text("new")
    assert Path("link.json").is_symlink() and Path("real.json").read_text() == "new"
    long = Path("n" * 250 + ".json")
    with replacing(long) as draft:
        draft.write_text("new")
    with pytest.raises(OSError, match="full"), replacing(long) as draft:
        draft.write_text("half")
        raise OSError("full")
    assert long.read_text() == "new" and Path("link.json.tmp").read_text() == "mine"
    assert {path.name for path in tmp_dir.iterdir()} == {
        "real.json", "link.json", "link.json.tmp", long.name
    }  # fmt: skip
