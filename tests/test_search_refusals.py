"""What `clipworks search` lists as bad or refuses, and in which words."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from albums import shard
from test_search import run, seven

from clipworks import Index
from clipworks.kit.errors import InputError
from clipworks.kit.places import MARK
from clipworks.search import making
from clipworks.search.shelf import Shelf


@pytest.fixture
def album(tmp_dir) -> Path:
    return seven(tmp_dir / "album")


def test_links_that_lead_nowhere_and_names_that_are_no_text_are_listed_as_bad(
    album, backbone_folder
) -> None:
    (album / "gone.png").symlink_to("nowhere.png")
    (album / "loop.png").symlink_to("loop.png")
    (album / os.fsdecode(b"name\xff.png")).write_bytes((album / "2.png").read_bytes())
    for new in (7, 0):  # a second run says it again
        made = run("index", "album", "--model", str(backbone_folder))
        assert made.exit_code == 0 and f"7 images, {new} of them new" in made.output
        for bad in ("gone.png: ", "loop.png: ", "name\\xff.png: its name is no UTF-8"):
            assert bad in made.output


def test_an_index_of_nothing_is_no_success(album, backbone_folder) -> None:
    made = run("index", "album/broken.jpg", "--model", str(backbone_folder))
    assert made.exit_code == 1 and "broken.jpg: no image format" in made.output
    with pytest.raises(SystemExit, match="no image could be read"):
        raise made.exception
    assert not Path("images.index").exists()
    made = run("index", "album/2.png", "--model", str(backbone_folder))  # the next is no second one
    assert made.exit_code == 0 and "1 images, 1 of them new" in made.output


def test_a_sentence_needs_no_quotation_marks(album, backbone_folder) -> None:
    run("index", "album", "--model", str(backbone_folder))
    assert run("a", "red", "car").output == run("a red car").output != ""
    with pytest.raises(
        InputError, match=r"the sentence 'a very.*' has \d+ tokens, and this CLIP reads"
    ):
        Index.open("images.index").find("a very " * 50 + "long car")
    with pytest.raises(InputError, match="give a sentence, an image, or both"):
        Index.open("images.index").find("")
    with pytest.raises(InputError, match=r"text_weight: 2\.0; it must be from 0 to 1"):
        Index.open("images.index").find("a car", image="album/2.png", text_weight=2.0)
    with pytest.raises(InputError, match=r"text_weight: it weighs a sentence against an image"):
        Index.open("images.index").find("a car", text_weight=0.3)
    with pytest.raises(InputError, match=r"an index is a folder's path, not int"):
        Index.open(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a car"], r"there is no index images\.index; `clipworks search index FOLDER --index images"),
        (["index", "album"], r"--model: a CLIP as NAME:TAG"),
        (["index"], r"there is no index images\.index yet: name a folder of images, and a CLIP by --model"),
        (["index", "nowhere", "--model", "BACKBONE"], r"'.*nowhere': no such file or folder"),
        (["index", "album", "--model", "RN50:nothing"], r"nothing"),
        (["a car", "--out", "x.pdf"], r"what is written is \.html, \.csv, \.json, \.parquet"),
        (["a car", "--text-weight", "0.5"], r"--text-weight: it weighs a sentence against --image"),
        (["--top", "3"], r"give a sentence, --image, or both"),
        (["index", "album", "--model", "BACKBONE", "--device", "cuda"], r"--device: this machine has no cuda"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_plainly(album, backbone_folder, words, message) -> None:
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("this machine has cuda")
    found = run(*[str(backbone_folder) if word == "BACKBONE" else word for word in words])
    assert found.exit_code == 1
    with pytest.raises(SystemExit, match=message):
        raise found.exception


def test_an_index_is_not_searched_with_another_model(album, backbone_folder, tmp_path) -> None:
    shutil.copytree(backbone_folder, tmp_path / "model")
    making.build(Path("a.index"), ["album"], str(tmp_path / "model"))
    from clipworks.clip import backbone

    config = backbone.read_config(tmp_path / "model/open_clip_config.json")
    other = backbone.new(config["model_cfg"], seed=9)
    for parameter in other.parameters():
        parameter.data *= 1.5
    backbone.save(tmp_path / "model", other, config["model_cfg"], config["preprocess_cfg"])
    with pytest.raises(InputError, match="is not the one that this index was made with"):
        Index.open("a.index")
    with pytest.raises(InputError, match=r"a\.index was made with .*; use another --index"):
        making.build(Path("a.index"), ["album"], str(backbone_folder))
    with pytest.raises(InputError, match=r"the image album/broken\.jpg: no image format"):
        making.build(Path("b.index"), ["album"], str(backbone_folder))
        Index.open("b.index").find(image="album/broken.jpg")


def test_a_broken_index_says_which_file_is_not_whole(album, backbone_folder) -> None:
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    features = next(Path("a.index").glob("features-*.npy"))
    whole = features.read_bytes()
    features.write_bytes(whole[:40])
    with pytest.raises(
        InputError,
        match=r"features-\w+\.npy cannot be read .*delete the index's folder and make it again",
    ):
        Index.open("a.index")
    features.write_bytes(whole)
    np.save(features, np.load(features)[1:])
    with pytest.raises(
        InputError, match=r"npy is of 6 images, and the index of 7; delete the index"
    ):
        Index.open("a.index")
    next(Path("a.index").glob("entries-*.parquet")).write_bytes(b"x")
    with pytest.raises(InputError, match=r"entries-\w+\.parquet cannot be read"):
        Index.open("a.index")
    about = Path("a.index/about.json")
    for other in ('{"model": "x"}', about.read_text().replace('"sources": [', '"sources": [7, ')):
        about.write_text(other)
        with pytest.raises(InputError, match="no index of this version"):
            Shelf.open(Path("a.index"))


def test_a_source_that_went_is_told_and_nothing_is_forgotten(album, backbone_folder) -> None:
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    album.rename("away")
    for _ in range(2):
        with pytest.raises(
            InputError,
            match=r"(no such file|holds no images).*a\.index stays as it is: put back",
        ):
            making.build(Path("a.index"), ["away"], None)
        album.mkdir(exist_ok=True)  # there again, and empty
    album.rmdir()
    Path("away").rename(album)
    assert making.build(Path("a.index"), [], None).new == 0


def test_python_is_told_what_is_wrong_with_a_query(album, backbone_folder) -> None:
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    found = Index.open("a.index")
    for top in (0, -1):
        with pytest.raises(InputError, match=r"^top: .*; it must be a whole number from 1 on"):
            found.find("a car", top=top)


def test_an_empty_word_is_not_the_working_folder(album, backbone_folder) -> None:
    with pytest.raises(InputError, match="'': no such file or folder"):
        making.build(Path("e.index"), [""], str(backbone_folder), device="cpu")


def test_an_archive_whose_name_no_table_can_hold_is_refused_before_the_work(
    album, backbone_folder
) -> None:
    place = Path(os.fsdecode(b"ph\xff"))
    place.mkdir()
    shard(place / "s.tar", {"a.png": (album / "2.png").read_bytes()})
    with pytest.raises(InputError, match=r"ph\\xff/s\.tar: its name is no UTF-8; rename it"):
        making.build(Path("e.index"), ["album", str(place)], str(backbone_folder), device="cpu")


def test_a_sentence_that_is_no_text_is_looked_for_and_written(album, backbone_folder) -> None:
    run("index", "album", "--model", str(backbone_folder))
    for name in ("q.html", "q.json"):
        found = run(os.fsdecode(b"caf\xe9"), "--out", name)
        assert found.exit_code == 0 and "xe9" in Path(name).read_text()
    assert MARK in Path("q.html").read_text()
