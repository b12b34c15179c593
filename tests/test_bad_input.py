"""Wrong things of every kind: each ends as one message that says what, where and what to do instead.

The table lies in bad_params.py and bad_files.py (what the check of params.yaml refuses), bad_inputs.py
and bad_coco.py (what else people give), bad_replies.py (chat models), bad_outputs.py, bad_forms.py and
bad_disks.py (what stages find).
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

import bad_coco  # noqa: F401
import bad_disks  # noqa: F401
import bad_forms  # noqa: F401
import bad_inputs  # noqa: F401  (fills the table)
import bad_outputs  # noqa: F401
import bad_replies  # noqa: F401
import pytest
from bad_files import FILES
from bad_params import PARAMS
from bad_world import MADE, World
from PIL import Image
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.fusion import leaderboard
from clipworks.kit import cli, images, runtime
from clipworks.kit.classes import read_classes
from clipworks.kit.errors import InputError
from clipworks.settings import check, whole
from clipworks.writing import filtering


@pytest.fixture
def world(finished, tmp_path, monkeypatch) -> World:
    return World(tmp_path / "world", finished, monkeypatch)


def refused(main, *arguments: object) -> str:
    """What a stage prints that ends with a message; anything else would keep its traceback."""
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: main(*arguments))
    text = str(end.value)
    assert text.startswith("error: ") and "\n\n" not in text
    return text


def test_the_table_is_long_and_names_everything_once() -> None:
    names = [row[0] for row in PARAMS + FILES] + [row.id for row in MADE]
    assert len(names) == len(set(names)) >= 150


@pytest.mark.parametrize(
    ("changes", "message"), [pytest.param(*row[1:], id=row[0]) for row in PARAMS]
)
def test_wrong_params_are_refused(world, changes, message) -> None:
    world.set(changes)
    assert re.search(message, refused(world.check))


@pytest.mark.parametrize(
    ("name", "content", "changes", "message"), [pytest.param(*row[1:], id=row[0]) for row in FILES]
)
def test_wrong_files_are_refused(world, name, content, changes, message) -> None:
    world.set(changes)
    world.put(name, content)
    assert re.search(message, refused(world.check))


@pytest.mark.parametrize(("make", "message"), MADE)
def test_wrong_things_are_refused(world, make, message) -> None:
    start = time.perf_counter()
    assert re.search(message, refused(make, world))
    assert time.perf_counter() - start < 60  # at once, and not after minutes of trying


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 30), form: str = "PNG") -> Callable:
    """What writes a picture."""
    return lambda path: Image.new(mode, size).save(path, format=form)


def cut(path: Path) -> None:
    """A picture of which the end is missing."""
    Image.effect_noise((99, 99), 50).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        pytest.param(Path.touch, r"the file is empty \(0 bytes\)", id="an empty image"),
        pytest.param(cut, "broken image data", id="half of an image"),
        pytest.param(Path.mkdir, "no plain file", id="a folder for an image"),
        pytest.param(lambda path: path.write_text("dog"), "no image format", id="text named .png"),
        pytest.param(lambda path: None, "the file does not exist", id="no image"),
        pytest.param(picture("1", (9000, 9000)), r"9000 x 9000 pixels are more than infer\.max_pixels "
                     r"\(1,000,000\)", id="too large an image"),
        pytest.param(picture("RGB", (3030, 30)), r"3030 x 30 pixels: one side is more than 100 times",
                     id="a slender image"),
    ],
)  # fmt: skip
def test_bad_images_are_listed_with_their_reason(tmp_path, write, reason) -> None:
    write(tmp_path / "a.png")
    with pytest.raises(images.BadImage, match=reason):
        images.read(tmp_path / "a.png", max_pixels=10**6)


@pytest.mark.parametrize(
    ("reply", "finish", "reason"),
    [
        pytest.param("", "stop", "empty", id="an empty reply"),
        pytest.param("1. A dog and a", "length", "cut", id="a reply that the token limit cut"),
        pytest.param("1. A dog在街上 runs.", "stop", "foreign_script", id="a reply in Chinese"),
        pytest.param("I'm sorry, but I cannot.", "stop", "refusal", id="a refusal"),
        pytest.param("1. Dog.", "stop", "too_short", id="too short a sentence"),
        pytest.param("A dog " * 60, "stop", "too_long", id="too long a sentence"),
        pytest.param(
            "Here are the sentences:", "stop", "preamble", id="a reply that is all opening"
        ),
        pytest.param("1. ......... 42", "stop", "no_words", id="a sentence without words"),
    ],
)
def test_bad_replies_are_set_aside_with_their_reason(reply, finish, reason) -> None:
    row = {"source": "multi", "names": ["dog"], "reply": reply, "finish": finish}
    found = list(filtering.candidates([row], min_length=6, max_length=149))
    assert [one.reason for one in found] == [reason]


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "I;16", "1", "LA"])
def test_odd_images_are_none_the_worse(tmp_path, mode) -> None:
    picture(mode, form="JPEG" if mode == "CMYK" else "PNG")(tmp_path / "a.png")
    assert images.read(tmp_path / "a.png", max_pixels=10**6).mode == "RGB"


@pytest.mark.parametrize("content", ["\ufeffdog\ncat\n", "dog\r\ncat\r\n", "# mine\n\n dog\ncat "])
def test_odd_class_lists_are_none_the_worse(tmp_path, content) -> None:
    (tmp_path / "classes.txt").write_bytes(content.encode())
    assert read_classes(tmp_path / "classes.txt") == ["dog", "cat"]


def test_a_class_may_be_called_image(tmp_path) -> None:
    import pyarrow.parquet as pq
    import torch

    path = tmp_path / "test.parquet"
    leaderboard.write_predictions(path, ["a.png"], ["image", "dog"], torch.tensor([[1.0, 2.0]]))
    assert pq.read_table(path).to_pylist() == [{"image": "a.png", "logit image": 1, "logit dog": 2}]


def test_what_can_be_run_and_may_not_be_meant_is_a_warning(finished, tmp_path, monkeypatch) -> None:
    world = World(tmp_path, finished, monkeypatch)
    world.other_classes(lambda names: ["unicorn", *names])
    world.put("w.safetensors", b"")
    world.set({"backbone.checkpoint": "w.safetensors", "world.files.test_images": "nowhere"})
    found = "\n".join(check.check(whole.load()))
    assert "world, backbone: the miniature world has no glyph for ['unicorn']; choose" in found
    assert (
        "backbone.checkpoint: w.safetensors is not read, since backbone.source is miniature"
        in found
    )
    assert "world.files.test_images: nowhere is not read, since world.source is miniature" in found
    world.put("mine/a.jpg", b"")
    world.set({"world.source": "folder", "world.files.test_images": "mine"})
    found = "\n".join(check.check(whole.load()))
    assert "  backbone: the miniature" in f"  {found}" and "or backbone.source=pretrained;" in found
    assert "test_images: mine is relative; experiments of --temp and" in found
    world.set({"world.source": "miniature"})
    with pytest.raises(InputError, match=r"the miniature world has no glyph for \['unicorn'\]"):
        world.stage("world")


def test_what_needs_no_class_list_is_said_beside_its_lack(world) -> None:
    world.set({"base.classes": "none.txt", "base.synonyms": "none.yaml", "world.source": "folder",
               "world.files.test_images": "/nowhere", "launcher": "pyhton"})  # fmt: skip
    found = refused(world.check)
    for part in (
        "class list none.txt",
        "synonyms file none.yaml",
        "/nowhere is no folder",
        "launcher: ",
    ):
        assert found.count(part) == 1, found


@pytest.mark.parametrize("name", ["gpu", "cuda:0"])
def test_a_device_of_another_name_is_refused(name) -> None:
    with pytest.raises(
        InputError, match=rf"--device: {name!r} is no device; auto, cuda, mps or cpu"
    ):
        runtime.pick_device(name, key="--device")


def test_the_reference_is_of_the_top_folder(monkeypatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent / "solutions/scenes")
    found = CliRunner().invoke(app, ["reference"])
    assert found.exit_code == 1 and "run it in the project's top folder" in str(found.exception)


def test_the_reference_replaces_no_page_but_its_own(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)
    for content, code in (("# My notes\n", 1), (Path("docs/params.md").read_text(), 0)):
        page = tmp_path / "page.md"
        page.write_text(content)
        found = CliRunner().invoke(app, ["reference", "--write", str(page)])
        assert found.exit_code == code and page.read_text() == content, found.output
    assert (
        CliRunner().invoke(app, ["reference", "--write", str(tmp_path / "new.md")]).exit_code == 0
    )


@pytest.mark.parametrize("way", ["", "cropz"])
def test_a_way_of_seeing_that_there_is_not_is_refused(way) -> None:
    from stages import infer

    with pytest.raises(InputError, match=rf"one of crops, maps; not {way!r}"):
        infer.main(way)


@pytest.mark.parametrize(
    "words",
    [["leaderboard"], ["leaderboard", "list.json"], ["graph"], ["reference"], ["leaderboard", "b.json", "--check", "page.md"],
     ["tag", "empty.jpg", "--out", "t.csv"], ["search", "index", "a.jpg", "--model", "x:y", "--device", "gpu"]],
)  # fmt: skip
def test_the_console_answers_in_a_line_where_there_is_nothing(tmp_dir, words) -> None:
    (tmp_dir / "b.json").write_text('{"ensemble": {"mAP": 1.0, "CF1": 1.0, "OF1": 1.0}}')
    (tmp_dir / "list.json").write_text("[1, 2]")
    (tmp_dir / "page.md").write_text("no table")
    for name in ("empty.jpg", "a.jpg"):
        (tmp_dir / name).touch()
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 1 and isinstance(found.exception, SystemExit)
    assert str(found.exception.code).startswith("error: ")
