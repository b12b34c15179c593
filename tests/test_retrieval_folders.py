"""A folder of one's own for the retrieval: looked over before anything runs."""

import json
import os
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from retrieving import run
from thimble import set_params

from clipworks.kit.errors import InputError

TRUTH = "test/test_label.txt"
ASKED = "test/test_attribute.txt"


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("val/val_label.txt", lambda _: "\n", r"val_label\.txt holds no line; it must hold image\$attribute"),
        ("val/val_label.txt", lambda text: text + "../x.jpg$red Falco.$A red Falco.\n",
         r"line \d+: image '\.\./x\.jpg' leads out of the picture folder"),
        ("train/train_label.txt", lambda text: text + "none.jpg$red Falco.$A red Falco.\n",
         r"train_images/none\.jpg does not exist, but the labels name it"),
        ("train/train_images/empty.jpg", lambda _: "", r"train_images/empty\.jpg is empty \(0 bytes\), and the"),
        ("train/train_images/words.jpg", lambda _: "no picture",
         r"1 pictures cannot be read: own/train/train_images/words\.jpg; replace them, or"),
        ("train/train_label.txt", lambda text: "".join(
            line for line in text.splitlines(keepends=True) if " " in line.split("$")[1] or "," in line),
         r"complete\.fill: there is no type to fill in"),
        (TRUTH, lambda text: text.partition("\n")[2], r"test_label\.txt has no line of \S+ \(1 are missing\)"),
        (TRUTH, lambda text: text + "z.jpg$red Falco\n", r"names 'z\.jpg', which is no picture of the gallery"),
        (TRUTH, lambda text: text + text.partition("\n")[0], r"test_label\.txt, line \d+: .* stands there twice"),
        (TRUTH, lambda text: text.replace("$", " "), r"test_label\.txt, line 1: an image\$attribute is expected"),
        (ASKED, lambda text: "red Falco\n" + text, r"test_attribute\.txt has \d+ attributes for \d+ queries"),
        (ASKED, lambda text: "".join(f"odd {line}" for line in text.splitlines(keepends=True)),
         r"no picture of test_label\.txt shows '.*', nor any other attribute that is asked for"),
        (ASKED, lambda text: "\n" + text, r"test_attribute\.txt, line 1: an attribute is expected"),
        (ASKED, None, r"test_label\.txt lies without test_attribute\.txt; give both, or neither"),
        ("test/test_text.txt", lambda _: "", r"test_text\.txt holds no query"),
        ("train/train_label.txt", lambda text: "".join(text.splitlines(keepends=True)[:5]),
         r"finetune\.\w+: a step takes 12 x 1 pictures, and there are 5 to train on; lower batch_size"),
        ("val/val_label.txt", lambda text: text.rpartition("$")[0] + "$This is a .\n",
         r"val_label\.txt: .*\n  line \d+: caption says nothing: 'This is a \.'"),
    ],
)  # fmt: skip
def test_a_folder_of_ones_own_is_looked_over_before_anything_runs(
    street, file, change, message
) -> None:
    own = Path("own")
    shutil.copytree("data/world/dataset", own)
    for name in (TRUTH, ASKED):
        shutil.copy(Path("data/world/truth", Path(name).name), own / name)
    set_params(street, {"world.source": "folder", "world.folder": "own"})
    run("check")
    path = own / file
    if change is None:
        path.unlink()
    else:
        path.write_text(change(path.read_text() if path.exists() else ""))
    if path.suffix == ".jpg":
        with (own / "train/train_label.txt").open("a") as labels:
            labels.write(f"{path.name}$red Falco.$A red Falco.\n")
    with pytest.raises(InputError, match=message):
        run("check")


def own_folder() -> Path:
    """The street as a folder of one's own, without truth."""
    shutil.copytree("data/world/dataset", "own")
    set_params(Path(), {"world.source": "folder", "world.folder": "own"})
    return Path("own")


def test_a_picture_has_one_line_however_it_is_spelt(street) -> None:
    labels = own_folder() / "val/val_label.txt"
    first = labels.read_text().split("$")[0]
    image = first.removesuffix(".jpg")
    for other in (image, f"{image}.jpg", f"./{image}.jpg"):
        if other != first:
            with labels.open("a") as file:
                file.write(f"{other}$SUV.$A SUV.\n")
    with pytest.raises(InputError) as refused:
        run("check")
    assert str(refused.value).count("stands in line 1 already") == 2
    set_params(street, {"parse.skip_bad": True})
    run("check")
    labels.write_text("000.jpg\n001.jpg$\n")
    with pytest.raises(
        InputError, match=r"val_label\.txt: none of 2 lines can be read \(line 1: attribute is miss"
    ):
        run("check")


def test_pictures_of_the_gallery_lie_in_one_folder_and_hidden_ones_are_none(street) -> None:
    gallery = own_folder() / "test/test_images"
    one = next(gallery.iterdir())
    shutil.copy(one, gallery / "._0.jpg")
    run("check")
    (gallery / "deep").mkdir()
    shutil.copy(one, gallery / "deep/900.jpg")
    with pytest.raises(
        InputError, match=r"test_images: deep/900\.jpg lies in a folder of its own \(1 do\)"
    ):
        run("check")


def test_what_dvc_could_not_watch_in_the_folder_is_named(street) -> None:
    os.mkfifo(own_folder() / "test/pipe")
    with pytest.raises(
        InputError,
        match=r"world\.folder: own: test/pipe: no plain files to be read .*take them away",
    ):
        run("check")


@pytest.mark.parametrize(
    ("types", "message"), [([], r"complete\.fill: there is no type"), (["SUV", ""], "a name under Types is empty")]
)  # fmt: skip
def test_an_inventory_of_ones_own_is_looked_over(street, types, message) -> None:
    names = {"Colors": ["white", "red"], "Types": types, "Brands": ["Falco", "Balong"]}
    Path("inventory.json").write_text(json.dumps(names))
    set_params(street, {"parse.inventory": "inventory.json"})
    with pytest.raises(InputError, match=message):
        run("check")


def test_a_query_that_no_picture_answers_is_told(street, capsys) -> None:
    asked = Path("data/world/truth", Path(ASKED).name)
    asked.write_text("odd " + asked.read_text())
    run("evaluate")
    assert "warning: no picture shows ['odd " in capsys.readouterr().out


def test_a_folder_one_level_off_is_told_what_it_lacks(street) -> None:
    set_params(street, {"world.source": "folder", "world.folder": "data/world"})
    with pytest.raises(
        InputError,
        match=r"data/world has no folder train/train_images, val/val_images, test/test_im",
    ):
        run("check")


def test_pictures_to_train_on_are_not_chosen_by(street) -> None:
    own = own_folder()
    for name in ("val_images", "val_label.txt"):
        there = own / "val" / name
        shutil.rmtree(there) if there.is_dir() else there.unlink()
    (own / "val/val_images").symlink_to((own / "train/train_images").resolve())
    shutil.copy(own / "train/train_label.txt", own / "val/val_label.txt")
    with pytest.raises(
        InputError, match=r"own: train and val share \d+ pictures, such as .*\.jpg, so"
    ):
        run("check")


def test_a_street_without_cars_has_nothing_to_complete(street) -> None:
    records = pq.read_table("data/parse/train.parquet")
    persons = pc.equal(records["kind"], "person")
    pq.write_table(records.filter(persons), "data/parse/train.parquet")
    run("complete")
    run("prepare")


@pytest.mark.parametrize("name", ["kind", "validation"])
def test_rows_have_no_name_with_a_meaning_of_its_own(street, name) -> None:
    set_params(street, {f"search.rows.{name}": {
        "what": "x", "against": "", "model": "backbone", "square": True, "prefix": "drop",
        "suffix": {"car": "", "person": ""}, "rerank": 0}})  # fmt: skip
    with pytest.raises(InputError, match=rf"rows\.{name}: the name has a meaning of its own"):
        run("check")
