"""An index that is made again: other models, other folders, images that went, killed runs."""

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from albums import png, shard
from test_search import run, seven

from clipworks import Index
from clipworks.clip import pretrained
from clipworks.kit.errors import InputError
from clipworks.search import embedding, making


@pytest.fixture
def album(tmp_dir) -> Path:
    return seven(tmp_dir / "album")


def killed(folder: str, model: Path, monkeypatch) -> None:
    """A first run that ends before its index is whole."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(embedding, "read_part", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        making.build(Path(folder), ["album"], str(model))
    assert list(Path(folder, "parts").glob("*.safetensors"))


def changed(backbone_folder: Path, folder: Path, **preprocess: object) -> Path:
    """The same weights, which want their pictures otherwise."""
    shutil.copytree(backbone_folder, folder)
    config = folder / "open_clip_config.json"
    about = json.loads(config.read_text())
    about["preprocess_cfg"] |= preprocess
    config.write_text(json.dumps(about))
    return folder


def test_what_a_killed_run_embedded_with_another_model_is_not_taken(
    album, backbone_folder, tmp_path, monkeypatch
) -> None:
    other = changed(backbone_folder, tmp_path / "other", mean=[0.1, 0.2, 0.3])
    making.build(Path("whole.index"), ["album"], str(other))
    killed("again.index", backbone_folder, monkeypatch)
    making.build(Path("again.index"), ["album"], str(other))
    one, two = (Index.open(f).find("a car", top=7) for f in ("whole.index", "again.index"))
    assert [(f.image, f.cosine) for f in one] == [(f.image, f.cosine) for f in two]


def test_an_index_knows_a_model_that_prepares_pictures_otherwise(
    album, backbone_folder, tmp_path
) -> None:
    model = changed(backbone_folder, tmp_path / "model")
    making.build(Path("a.index"), ["album"], str(model))
    shutil.rmtree(model)
    changed(backbone_folder, model, resize_mode="squash")
    for again in (lambda: Index.open("a.index"), lambda: making.build(Path("a.index"), [], None)):
        with pytest.raises(InputError, match="or how it prepares pictures"):
            again()


@pytest.mark.parametrize("file", ["parts/mine.jpg", "features-train.npy", "photo.png"])
def test_an_index_is_not_made_among_other_files(album, backbone_folder, file) -> None:
    place = Path("data", file)
    place.parent.mkdir(parents=True)
    place.write_bytes(png())
    with pytest.raises(InputError, match=r"--index: data holds other files, such as .*of its own"):
        making.build(Path("data"), ["album"], str(backbone_folder))
    assert place.exists()


def test_a_killed_first_run_goes_on(album, backbone_folder, monkeypatch) -> None:
    killed("a.index", backbone_folder, monkeypatch)
    assert making.build(Path("a.index"), ["album"], str(backbone_folder)).new == 7


def test_a_single_file_that_went_is_forgotten(album, backbone_folder) -> None:
    files = sorted(str(path) for path in album.glob("*.png"))
    making.build(Path("a.index"), files, str(backbone_folder))
    Path(files[0]).unlink()
    made = making.build(Path("a.index"), [], None)
    assert (made.images, made.gone) == (len(files) - 1, 1)
    for path in files[1:]:
        Path(path).unlink()
    shutil.rmtree(album)  # as if its disk were not mounted: nothing is forgotten for that
    with pytest.raises(InputError, match="put back what is missing"):
        making.build(Path("a.index"), [], None)


def test_a_working_folder_named_like_a_pattern_is_none(
    backbone_folder, tmp_dir, monkeypatch
) -> None:
    (tmp_dir / "ph [1]").mkdir()
    monkeypatch.chdir(tmp_dir / "ph [1]")
    Path("a.png").write_bytes(png())
    for new in (1, 0):
        assert making.build(Path("a.index"), ["*.png"], str(backbone_folder)).new == new


def test_bad_pictures_of_an_archive_are_named_each_time(tmp_dir, backbone_folder) -> None:
    shard(tmp_dir / "s.tar", {"good.png": png(), "bad.png": b"x"})
    for new in (1, 0, 0):
        made = run("index", "s.tar", "--model", str(backbone_folder))
        assert f"1 images, {new} of them new" in made.output
        assert made.output.count("bad: ") == 1 and "s.tar/bad.png: no image format" in made.output


def test_names_that_are_no_text_are_shown_as_what_they_are(album, backbone_folder) -> None:
    making.build(Path("images.index"), ["album"], str(backbone_folder))
    odd = os.fsdecode(b"caf\xe9.png")
    shutil.copyfile("album/2.png", odd)
    for out in ("f.html", "f.json"):
        assert run("--image", odd, "--out", out).exit_code == 0
        assert "caf\\xe9.png" in Path(out).read_text().replace("\\\\", "\\")


def during(monkeypatch, what) -> None:
    """Something happens while the next CLIP is loaded."""
    load = pretrained.named

    def loading(word):
        monkeypatch.setattr(pretrained, "named", load)
        what()
        return load(word)

    monkeypatch.setattr(pretrained, "named", loading)


def test_two_runs_that_begin_together_lose_nothing(album, backbone_folder, monkeypatch) -> None:
    (album.parent / "other").mkdir()
    (album.parent / "other/x.png").write_bytes(png(30, 99))
    model = str(backbone_folder)
    during(monkeypatch, lambda: making.build(Path("a.index"), ["album"], model))
    with pytest.raises(InputError, match=r"another run changed the index a\.index while this one"):
        making.build(Path("a.index"), ["other"], model)
    assert making.build(Path("a.index"), ["other"], model).new == 1
    assert len(Index.open("a.index")) == 8


def test_an_index_is_opened_while_an_update_ends(album, backbone_folder, monkeypatch) -> None:
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    (album / "new.png").write_bytes(png(30, 99))
    during(monkeypatch, lambda: making.build(Path("a.index"), [], None))
    assert len(Index.open("a.index")) == 8


def test_nobody_is_let_in_while_the_faster_way_is_built(
    album, backbone_folder, monkeypatch
) -> None:
    seen: list[str] = []

    def building(made) -> None:
        with pytest.raises(InputError, match="another run is at work"):
            making.build(Path("a.index"), [], None)
        seen.append("told")

    making.build(Path("a.index"), ["album"], str(backbone_folder))
    (album / "new.png").write_bytes(png(30, 99))
    monkeypatch.setattr(making.approximate, "build", building)
    making.build(Path("a.index"), [], None)
    assert seen == ["told"] and not Path("a.index/parts").exists()


def test_images_behind_a_link_have_its_present_name(album, backbone_folder) -> None:
    disk = album.parent / "disk"
    disk.mkdir()
    (disk / "x.png").write_bytes(png(30, 99))
    (album / "trip").symlink_to(disk)
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    (album / "trip").rename(album / "alps")
    made = making.build(Path("a.index"), [], None)
    assert (made.new, made.gone) == (0, 0)
    names = [found.image for found in Index.open("a.index").find("a car", top=9)]
    assert sum("alps/x.png" in name for name in names) == 1 and not any("trip" in n for n in names)


def test_a_folder_with_a_dot_in_its_name_is_no_file_that_went(album, backbone_folder) -> None:
    disk = album.parent / "photos.2023"
    disk.mkdir()
    (disk / "x.png").write_bytes(png(30, 99))
    making.build(Path("a.index"), ["album", "photos.2023"], str(backbone_folder))
    disk.rename(album.parent / "unmounted")
    with pytest.raises(InputError, match=r"photos\.2023.*: put back what is missing"):
        making.build(Path("a.index"), [], None)


def test_a_table_that_changed_leaves_a_page_without_its_picture(album, backbone_folder) -> None:
    def table(count: int, column: str = "image") -> None:
        own = pa.table({column: [png(30, i) for i in range(count)]})
        pq.write_table(own, album / "t.parquet", row_group_size=1)

    table(3)
    making.build(Path("a.index"), ["album/t.parquet"], str(backbone_folder))
    for change in (lambda: table(1), lambda: table(3, "picture")):
        change()
        done = run("a car", "--index", "a.index", "--out", "found.html")
        assert done.exit_code == 0, done.output
        assert "t.parquet" in Path("found.html").read_text()


@pytest.mark.parametrize("name", ["a.tar", "a.parquet"])
def test_an_archive_that_went_is_forgotten(album, backbone_folder, name: str) -> None:
    content = (album / "2.png").read_bytes()
    if name.endswith("tar"):
        shard(Path(name), {"x.png": content})
    else:
        pq.write_table(pa.table({"image": [content]}), name)
    making.build(Path("b.index"), [str(album), name], str(backbone_folder), device="cpu")
    Path(name).unlink()
    made = making.build(Path("b.index"), [], None, device="cpu")
    assert (made.images, made.gone) == (7, 1)  # those of the album stay
