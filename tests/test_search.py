"""`clipworks search`: what people do with their own folders."""

import errno
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from typer.testing import CliRunner

from clipworks import Index
from clipworks.clip.visual import normalise
from clipworks.commands import app
from clipworks.kit.errors import InputError
from clipworks.search import approximate, embedding, making
from clipworks.tagging import sources


def picture(number: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 255, (5, 5, 3), dtype=np.uint8)).resize(size)


def seven(folder: Path) -> Path:
    """Seven pictures in two folders, and one that is broken."""
    (folder / "deep").mkdir(parents=True)
    for i in range(7):
        picture(i, (48 + 9 * i, 40)).save(folder / ("deep" if i % 2 else ".") / f"{i}.png")
    (folder / "broken.jpg").write_bytes(b"not a picture")
    return folder


@pytest.fixture
def album(tmp_dir) -> Path:
    return seven(tmp_dir / "album")


def run(*words: str):
    return CliRunner().invoke(app, ["search", *words])


def seen(monkeypatch) -> list[str]:
    """Names of the images that are read from now on."""
    names: list[str] = []
    read = embedding.images.read

    def reading(source, **options):
        names.append(source.name if isinstance(source, Path) else "bytes")
        return read(source, **options)

    monkeypatch.setattr(embedding.images, "read", reading)
    return names


def test_a_folder_is_indexed_and_searched_by_sentence_image_and_both(
    album, backbone_folder
) -> None:
    made = run("index", "album", "--model", str(backbone_folder))
    assert made.exit_code == 0, made.output
    assert "7 images, 7 of them new, 0 changed, 0 gone -> images.index" in made.output
    assert "bad: " in made.output and "broken.jpg: no image format" in made.output
    for words in (["a red car"], ["--image", "album/2.png"], ["a car", "--image", "album/2.png"]):
        found = run(*words, "--top", "3", "--out", "found/page.html")
        assert found.exit_code == 0, found.output
        lines = found.output.splitlines()
        assert len(lines) == 4 and lines[0].startswith("  1  ")
        page = Path("found/page.html").read_text()
        assert page.count("<figure>") == 3 and "data:image/jpeg;base64" in page
    first = run("--image", "album/2.png", "--top", "1").output.split()
    assert first[1] == "1.000" and first[2].endswith("album/2.png")
    for kind in ("csv", "json", "parquet"):
        assert run("a car", "--top", "2", "--out", f"found.{kind}").exit_code == 0
    assert [one["place"] for one in json.loads(Path("found.json").read_text())["found"]] == [1, 2]
    assert len(Path("found.csv").read_text().splitlines()) == 3


def test_a_pipe_that_is_closed_costs_no_file(album, backbone_folder, monkeypatch) -> None:
    (album / "2.png").rename(album / "new\nline.png")
    assert run("index", "album", "--model", str(backbone_folder)).exit_code == 0
    assert "new\\nline.png" in run("a car").output

    def closed(*words: object, **options: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("clipworks.search.commands.typer.echo", closed)
    run("a car", "--out", "found.json")
    assert len(json.loads(Path("found.json").read_text())["found"]) == 7


def test_three_lines_of_python_find_what_an_obvious_loop_finds(
    album, backbone_folder, clip
) -> None:
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    opened = Index.open("a.index")
    found = opened.find("a red car", top=7)
    expected = []
    text = F.normalize(clip.model.encode_text(clip.tokenize(["a red car"])), dim=1)
    for path in sorted(album.rglob("*.png")):
        image = Image.open(path).convert("RGB")
        short = min(image.size)
        image = image.resize((round(32 * image.width / short), round(32 * image.height / short)), Image.Resampling.BICUBIC)  # fmt: skip
        left, top = (image.width - 32) // 2, (image.height - 32) // 2
        pixels = torch.from_numpy(np.asarray(image.crop((left, top, left + 32, top + 32))).copy())
        with torch.no_grad():
            feature = clip.model.encode_image(normalise(pixels.permute(2, 0, 1)[None], clip.mean, clip.std))  # fmt: skip
        expected.append((float(F.normalize(feature, dim=1) @ text.T), str(path.resolve())))
    expected.sort(reverse=True)
    assert [one.image for one in found] == [name for _, name in expected]
    np.testing.assert_allclose([f.cosine for f in found], [c for c, _ in expected], atol=2e-3)
    assert len(opened) == 7


def test_a_second_run_looks_at_new_images_only_and_forgets_those_that_are_gone(
    album, backbone_folder, monkeypatch
) -> None:
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    before = Index.open("a.index").find("a car", top=7)
    names = seen(monkeypatch)
    picture(50).save(album / "new.png")
    (album / "4.png").unlink()
    picture(51).save(album / "0.png")  # another picture of the same name
    os.utime(album / "0.png", ns=(1, 1))
    made = making.build(Path("a.index"), [], None)
    assert sorted(names) == ["0.png", "broken.jpg", "new.png"]
    assert (made.images, made.new, made.changed, made.gone) == (7, 1, 1, 1)
    after = {f.image: f.cosine for f in Index.open("a.index").find("a car", top=9)}
    assert len(after) == 7 and not any(name.endswith("4.png") for name in after)
    for one in before:
        if not one.image.endswith(("4.png", "0.png")):
            assert after[one.image] == pytest.approx(one.cosine, abs=1e-6)
    again = making.build(Path("a.index"), [], None)
    assert (again.new, again.changed, again.gone) == (0, 0, 0)
    assert len(list(Path("a.index").iterdir())) == 3  # nothing of old states is left


def test_what_a_killed_run_embedded_is_not_embedded_again(
    album, backbone_folder, monkeypatch
) -> None:
    making.build(Path("whole.index"), ["album"], str(backbone_folder))
    monkeypatch.setattr(sources, "FILES_A_UNIT", 2)
    names = seen(monkeypatch)
    embed = embedding.embed
    calls = []

    def killed(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(*arguments, **options)

    monkeypatch.setattr(embedding, "embed", killed)
    with pytest.raises(KeyboardInterrupt):
        making.build(Path("a.index"), ["album"], str(backbone_folder))
    with pytest.raises(InputError, match="there is no index"):
        Index.open("a.index")
    done = len(names)
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    assert done == 2 and len(names) == 8  # runs of one: each name ends one where two are the most
    found, whole = (Index.open(name).find("a car", top=7) for name in ("a.index", "whole.index"))
    assert [f.image for f in found] == [f.image for f in whole]


def test_an_index_takes_its_room_before_it_writes_through_memory(
    album, backbone_folder, monkeypatch
) -> None:
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    picture(50).save(album / "new.png")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        making.build(Path("a.index"), [], None)
    assert len(Index.open("a.index").find("a car", top=9)) == 7


def test_archives_and_files_lie_in_one_index(album, backbone_folder, monkeypatch) -> None:
    with tarfile.open("shard.tar", "w") as archive:
        for i in (20, 21):
            content = io.BytesIO()
            picture(i).save(content, "PNG")
            member = tarfile.TarInfo(f"x/{i}.png")
            member.size = len(content.getvalue())
            archive.addfile(member, io.BytesIO(content.getvalue()))
    made = making.build(Path("a.index"), ["album", "shard.tar"], str(backbone_folder))
    assert made.images == 9
    names = seen(monkeypatch)
    assert making.build(Path("a.index"), [], None).new == 0 and names == ["broken.jpg"]
    picture(21).save("like.png")
    found = run("--image", "like.png", "--index", "a.index", "--top", "1", "--out", "p.html")
    assert "shard.tar/x/21.png" in found.output and found.output.split()[1] == "1.000"
    assert "data:image" in Path("p.html").read_text()


def test_a_model_of_squares_sees_the_whole_picture(album, backbone_folder, tmp_path) -> None:
    shutil.copytree(backbone_folder, tmp_path / "square")
    config = tmp_path / "square/open_clip_config.json"
    content = json.loads(config.read_text())
    content["preprocess_cfg"]["resize_mode"] = "longest"
    config.write_text(json.dumps(content))
    wide = Image.new("RGB", (90, 30))
    wide.paste((255, 0, 0), (0, 0, 20, 30))  # which a centre crop would cut off
    wide.save("album/wide.png")
    Image.new("RGB", (90, 30)).save("album/plain.png")
    cosines = []
    for name, model in (("centre", backbone_folder), ("square", tmp_path / "square")):
        making.build(Path(f"{name}.index"), ["album"], str(model))
        found = Index.open(f"{name}.index").find("", image="album/plain.png", top=20)
        found = {f.image: f.cosine for f in found}
        cosines.append(found[str(album / "wide.png")])
    assert cosines[0] == pytest.approx(1, abs=5e-5) and cosines[1] < cosines[0] - 1e-4


def test_faiss_finds_what_looking_at_all_images_finds(album, backbone_folder, monkeypatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(approximate, "LARGE", 3)
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    assert len(list(Path("a.index").glob("faiss-*.bin"))) == 1
    opened = Index.open("a.index")
    fast, exact = (opened.find("a car", top=3, exact=exact) for exact in (False, True))
    assert [f.image for f in fast] == [f.image for f in exact]


def test_an_actor_of_a_cluster_makes_the_parts_that_this_machine_makes(
    album, backbone_folder, tmp_path
) -> None:
    from clipworks.clip import backbone
    from clipworks.search import ray_engine
    from clipworks.tagging import sources

    with tarfile.open("album/shard.tar", "w") as archive:
        archive.add("album/2.png", "inside.png")
    _, jobs = embedding.plan(sources.find(["album"]), [], model="")
    here, there = tmp_path / "here", tmp_path / "there"
    embedder = embedding.Embedder(
        backbone.load(backbone_folder), batch_size=4, device=torch.device("cpu")
    )
    embedding.run(jobs, here, embedder)
    there.mkdir()
    worker = ray_engine.Worker(str(backbone_folder), 4)
    for row in ray_engine.rows(jobs, there):
        assert Path(worker(row)["part"]).exists()
    assert ray_engine.rows(jobs, there) == []
    for job in jobs:
        one, other = (embedding.read_part(folder / job.name) for folder in (here, there))
        assert one[0] == other[0] and one[2] == other[2]
        np.testing.assert_array_equal(one[1], other[1])


def test_a_cluster_makes_the_index_that_this_machine_makes(album, backbone_folder) -> None:
    pytest.importorskip("ray")
    making.build(Path("here.index"), ["album"], str(backbone_folder))
    making.build(Path("there.index"), ["album"], str(backbone_folder), workers=2)
    one, other = (Index.open(name).find("a car", top=7) for name in ("here.index", "there.index"))
    assert [(f.image, f.cosine) for f in one] == [(f.image, f.cosine) for f in other]


def test_a_query_by_both_weighs_text_against_image(album, backbone_folder) -> None:
    making.build(Path("a.index"), ["album"], str(backbone_folder))
    opened = Index.open("a.index")
    text, image = opened.query("a car"), opened.query(image="album/deep/3.png")
    for weight in (0.0, 0.25, 1.0):
        both = opened.query("a car", image="album/deep/3.png", text_weight=weight)
        expected = F.normalize(weight * text + (1 - weight) * image, dim=1)
        torch.testing.assert_close(both, expected, rtol=1e-4, atol=1e-5)
