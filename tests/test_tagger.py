"""The tagger: its recipe is the leaderboard's, its file is whole or refused, its API is three lines."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import CLASSES
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from clipworks import Tagger
from clipworks.fusion import recipes
from clipworks.fusion.recipes import Recipe
from clipworks.fusion.rows import rows
from clipworks.kit.errors import InputError
from clipworks.kit.params import load
from clipworks.tagging.export import calibration
from clipworks.tagging.tagger import Calibration
from clipworks.windows.boxes import Box, boxes
from clipworks.windows.params import Maps

MAPS = Maps(resolution=1.0, density=1.0, tolerance=0.1)
FLAT = Calibration(np.zeros(6), np.ones(6), "zero")


@pytest.fixture(scope="module")
def tagger(clip, models, backbone_folder) -> Tagger:
    """Of six classes, 80 templates and two tuned models, with thresholds of zero."""
    tuned = {name: models[name] for name in ("tuned", "plain")}
    made = Tagger.of(
        clip, CLASSES, word=str(backbone_folder), scales=[2], maps=MAPS, tuned=tuned,
        logit_scales={"tuned": (3.0, 20.0)},
    )  # fmt: skip
    return made.with_calibration(dict.fromkeys(("fast", "maps", "crops"), FLAT))


NAMES = ("0 ü.png", "1 ü.png", "3 ü.png")


@pytest.mark.parametrize("seeing", ["maps", "crops"])
def test_its_logits_are_those_of_the_recommended_row(tagger, folder, seeing) -> None:
    """The obvious way: the leaderboard's recipe, model by model, on the logits of the same windows."""
    eye = tagger.eye(seeing)
    cuts = [eye.cut(name, folder / name) for name in NAMES]
    name = "recommended" if seeing == "maps" else "recommended_crops"
    row = next(row for row in rows(("tuned", "plain")) if row.name == name)
    assert row.models == tuple(tagger.about.models) and row.join == "mean"
    for cut, judged in zip(cuts, eye.judge(cuts), strict=True):
        logits = eye._pass.run([cut])["logits"][None].float()
        start = Recipe(1.0, 9.0, 9.0, True, 9.0, True, "twice", "mean", 9.0, 9, 9.0, "none")
        recipe = replace(start, **row.change)
        none = torch.zeros(1, logits.shape[1], 1), recipe, torch.zeros(6, 6)
        each = [recipes.model_logits(logits[:, :, :, m], *none) for m in range(3)]
        np.testing.assert_allclose(judged.logits, torch.stack(each).mean(dim=0)[0], atol=1e-5)
        said = torch.stack([recipes.spoken(logits[:, :, :, m], *none) for m in range(3)]).sum(dim=0)
        np.testing.assert_array_equal(judged.windows, said[0].argmax(dim=0) + 1)


def test_fast_looks_at_the_whole_image_alone(tagger, folder) -> None:
    eye = tagger.eye("fast")
    (judged,) = eye.judge([eye.cut("a", folder / NAMES[0])])
    assert judged.windows.tolist() == [0] * 6
    assert all(tag.box == Box(0, 0, 64, 48) for tag in tagger.tags(judged, "fast"))


def test_three_lines_tag_images(tagger, folder, tmp_path) -> None:
    tagger.save(tmp_path / "t.safetensors")
    again = Tagger.load(tmp_path / "t.safetensors")
    tags = again.tag([folder / NAMES[0], (folder / NAMES[1]).read_bytes()])
    assert tags == tagger.tag([str(folder / name) for name in NAMES[:2]])
    assert len(tags) == 2 and all(tag.probability > 0.5 for tag in tags[0])
    assert [t.probability for t in tags[0]] == sorted(
        (t.probability for t in tags[0]), reverse=True
    )
    allowed = [Box(0, 0, 64, 48), *boxes(64, 48, [2])]
    assert {tag.box for tag in tags[0]} <= set(allowed) and tags[0]
    with pytest.raises(InputError, match=r"gone.png cannot be read: the file does not exist"):
        again.tag([folder / "gone.png"])


def test_a_file_is_small_and_says_what_it_is(tagger, tmp_path) -> None:
    path = tmp_path / "t.safetensors"
    tagger.save(path)
    assert path.stat().st_size < 100_000
    with safe_open(str(path), framework="np") as file:
        about = json.loads(file.metadata()["clipworks"])
    assert about["classes"] == CLASSES and len(about["digest"]) == 64
    tagger.save(tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    (tmp_path / "a.txt").touch()
    assert path.stat().st_mode == (tmp_path / "a.txt").stat().st_mode  # others may read it too


def test_a_tagger_takes_the_place_of_no_other_weights(tagger, tmp_path) -> None:
    path, link = tmp_path / "t.safetensors", tmp_path / "link.safetensors"
    tagger.save(path)
    link.symlink_to(path)
    spoil(path, lambda _, about: about.update(version=1))
    tagger.save(link)  # an old one may go, and a link stays one
    assert link.is_symlink() and Tagger.load(path).classes == CLASSES
    save_file({"a": torch.zeros(1)}, str(path))
    before = path.read_bytes()
    for place in (path, link):
        with pytest.raises(InputError, match=r"is no tagger, and would be lost; move it away"):
            tagger.save(place)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 2


def test_an_empty_word_for_the_clip_is_not_passed_over(tagger, tmp_path) -> None:
    tagger.save(tmp_path / "t.safetensors")
    with pytest.raises(InputError, match="model '' is no folder; write NAME:TAG"):
        Tagger.load(tmp_path / "t.safetensors", "")


def test_thresholds_that_are_not_there_are_named(
    clip, backbone_folder, folder, monkeypatch
) -> None:
    bare = Tagger.of(clip, CLASSES, word=str(backbone_folder))
    with pytest.raises(
        InputError, match=r"no thresholds for 'maps', only for \[\]; `clipworks tag`"
    ):
        bare.tag([folder / NAMES[0]])
    with monkeypatch.context() as patch:  # in seconds, and not after all images are looked at
        patch.setattr(Tagger, "eye", lambda *_, **__: pytest.fail("looks at images first"))
        with pytest.raises(InputError, match="no thresholds for 'crops'"):
            bare.tag([folder / NAMES[0]], "crops")


def spoil(path, change) -> None:
    own = load_file(path)
    with safe_open(str(path), framework="np") as file:
        about = json.loads(file.metadata()["clipworks"])
    change(own, about)
    save_file(
        {k: v.contiguous() for k, v in own.items()},
        str(path),
        metadata={"clipworks": json.dumps(about)},
    )


WRONG = [
    ("fewer rows", lambda own, about: own.update(globals=own["globals"][:-1]),
     r"globals is \(17, 32\) or not finite, and 3 models of 6 classes need \(18, 32\)"),
    ("another width", lambda own, about: own.update(locals=own["locals"][:, :-1]), r"locals is \(18, 31\)"),
    ("not finite", lambda own, about: own["evidence"].fill_(float("nan")), r"evidence .* not finite"),
    ("no scale", lambda own, about: own.pop("global_scale"), r"global_scale is missing"),
    ("more classes than rows", lambda own, about: about["classes"].append("x"), r"has_evidence|globals"),
    ("short thresholds", lambda own, about: own.update({"thresholds.maps": torch.zeros(2)}),
     r"thresholds\.maps is \(2,\)"),
    ("another version", lambda own, about: about.update(version=1), r"is of version 1, this clipworks reads 3"),
    ("a word more", lambda own, about: about.update(pickle="x"), r"of another form \(pickle"),
    ("no classes", lambda own, about: about.pop("classes"), r"of another form \(classes"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_file_whose_parts_lie_is_refused(tagger, tmp_path, change, message) -> None:
    path = tmp_path / "t.safetensors"
    tagger.save(path)
    spoil(path, change)
    with pytest.raises(InputError, match=message):
        Tagger.load(path)


def test_other_weights_than_those_it_was_made_with_are_refused(tagger, clip, tmp_path) -> None:
    tagger.save(tmp_path / "t.safetensors")
    model = copy.deepcopy(clip.model)
    next(iter(model.parameters())).data += 1e-6
    other = replace(clip, model=model, name="the other")
    with pytest.raises(InputError, match=r"other weights than those of the other .*do not compare"):
        Tagger.load(tmp_path / "t.safetensors", other)


def test_what_is_no_tagger_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"t\.safetensors does not exist"):
        Tagger.load(tmp_path / "t.safetensors")
    save_file({"a": torch.zeros(1)}, str(tmp_path / "t.safetensors"))
    with pytest.raises(InputError, match=r"is no tagger; `clipworks export` writes one"):
        Tagger.load(tmp_path / "t.safetensors")
    (tmp_path / "t.safetensors").write_bytes(b"cos\nsystem\n(S'true'\ntR.")  # a pickle with code
    with pytest.raises(InputError, match=r"no whole safetensors file"):
        Tagger.load(tmp_path / "t.safetensors")


def test_thresholds_come_from_labels_where_there_are_some() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((300, 6)) < 0.2
    logits = rng.normal(size=(300, 6)) + 3 * labels
    assert calibration(logits, labels).rule == "labels of 300 images"
    assert calibration(logits, None).rule == "range of 300 images"


def test_a_picture_of_any_kind_is_tagged(tagger, tmp_path) -> None:
    for mode in ("L", "CMYK", "RGBA"):
        Image.new(mode, (40, 30)).save(tmp_path / f"{mode}.tiff")
        assert len(tagger.tag([tmp_path / f"{mode}.tiff"])) == 1


def test_load_reads_the_params_of_the_pipeline() -> None:
    from clipworks.windows.params import Infer

    assert load("infer", Infer).maps.resolution > 0


def test_what_is_no_list_of_images_is_refused(tagger) -> None:
    for wrong in ("a.png", {"a.png", "b.png"}):
        with pytest.raises(InputError, match="give a list"):
            tagger.tag(wrong)
    with pytest.raises(InputError, match=r"a\.png cannot be read"):  # and no empty answer
        tagger.tag(name for name in ["a.png"])


def test_a_folder_is_no_tagger(tmp_path) -> None:
    with pytest.raises(InputError, match="is a folder; a tagger is a file"):
        Tagger.load(tmp_path)
