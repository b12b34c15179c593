"""`clipworks classify` and `clipworks submissions compare`, as people call them."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.kit.errors import InputError
from clipworks.scenes import comparison, submissions


@pytest.fixture
def photos(tmp_path) -> Path:
    """Grey, CMYK, transparent and turned pictures, one of them broken, one with markup in its name."""
    out = tmp_path / "photos"
    (out / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, mode in enumerate(("RGB", "L", "CMYK", "RGBA", "P")):
        image = Image.fromarray(rng.integers(0, 255, (40, 30 + number, 3), dtype=np.uint8))
        suffix = "png" if mode in ("RGBA", "P") else "jpg"
        image.convert(mode).save(out / f"{'deep/' * (number % 2)}{number}.{suffix}")
    (out / "broken.jpg").write_bytes(b"no picture")
    (out / "gone.jpg").symlink_to("nowhere.jpg")
    Image.new("RGB", (9, 9), "red").save(out / "<b>x</b>.png".replace("/", "∕"))
    return out


def call(*arguments: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(a) for a in arguments])
    return found.exit_code, found.output + (str(found.exception) if found.exception else "")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_a_folder_is_classified_into_a_table_and_a_page(
    photos, tmp_path, backbone_folder, suffix
) -> None:
    out = tmp_path / f"table.{suffix}"
    (tmp_path / "other").symlink_to(backbone_folder)  # two models need not differ
    code, text = call(
        "classify", photos, "--classes", "street, farm,sea", "--out", out,
        "--models", f"{backbone_folder},{tmp_path / 'other'}", "--device", "cpu", "--sharpen", "2",
    )  # fmt: skip
    assert code == 0, text
    assert "6 pictures, 2 that could not be read" in text
    read = {"csv": lambda p: pd.read_csv(p, keep_default_na=False), "parquet": pd.read_parquet,
            "json": pd.read_json}[suffix]  # fmt: skip
    frame = read(out)
    assert len(frame) == 8 and frame["error"].iloc[-1] != "" and frame["label"].iloc[-1] == ""
    good = frame[frame["error"] == ""]
    assert sorted(good["picture"])[:2] == ["0.jpg", "2.jpg"]
    columns = [f"probability {name}" for name in ("street", "farm", "sea")]
    values = good[columns].to_numpy(float)
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-5)
    assert (
        good["probability"].to_numpy(float)[:-1] >= good["probability"].to_numpy(float)[1:]
    ).all()
    page = out.with_suffix(".html").read_text()
    assert (
        page.count("data:image/jpeg;base64,") == 6 and "&lt;b&gt;x" in page and "<b>x" not in page
    )
    assert "broken.jpg" in page and "http" not in re.sub(r"data:\S+", "", page)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--classes": "a"}, "at least two are needed"),
        ({"--classes": "a,b,a"}, r"names ['a'] twice"),
        ({"--out": "x.xlsx"}, "--out x.xlsx: what is written is .csv, .parquet, .json"),
        ({"--models": "ViT-B-32"}, "write NAME:TAG"),
        ({"--models": "a,b,a"}, "--models names ['a'] twice"),
        ({"--models": " , "}, "give a CLIP as NAME:TAG"),
        ({"--models": "ViT-B-33:openai"}, "has no model 'ViT-B-33'; close names"),
        ({"--models": "ViT-B-32:opnai"}, "'opnai' is no tag of ViT-B-32"),
        ({"--models": "ViT-B-32:w/none.pt"}, "w/none.pt is no file of weights"),
        ({"--prompts": "none.yaml"}, "none.yaml does not exist"),
        ({"--classes": "a," + "b" * 3000 + "/c.txt", "--models": "x"}, "model 'x' is no folder"),
        ({"--classes": "lists/none.txt"}, "there is no such file"),
        ({"--device": "gpu"}, "'gpu' is not one of"),
        ({"--sharpen": "-1"}, "equal to 0"),
        ({"--sharpen": "nan"}, "equal to 100"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_encoded(
    photos, tmp_path, backbone_folder, options, message
) -> None:
    given = {"--classes": "a,b", "--out": str(tmp_path / "t.csv"), "--models": str(backbone_folder)}
    code, text = call("classify", photos, *(x for kv in {**given, **options}.items() for x in kv))
    assert code != 0 and message in text
    assert not (tmp_path / "t.csv").exists()


def test_a_folder_without_one_picture_that_can_be_read_is_refused(
    tmp_path, backbone_folder
) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.jpg").write_bytes(b"x")
    common = ("--classes", "a,b", "--models", backbone_folder, "--out", tmp_path / "t.csv")
    code, text = call("classify", tmp_path / "p", *common)
    assert code != 0 and "none of 1 pictures can be read; a.jpg:" in text
    code, text = call("classify", tmp_path / "gone", *common)
    assert code != 0 and "is no folder" in text


def test_a_name_that_no_table_can_hold_is_listed_as_bad(photos, tmp_path, backbone_folder) -> None:
    name = os.fsdecode(b"latin\xff.jpg")
    (photos / name).write_bytes((photos / "0.jpg").read_bytes())
    options = ("--classes", "street, farm", "--models", backbone_folder, "--device", "cpu")
    code, text = call("classify", photos, "--out", tmp_path / "t.csv", *options)
    assert code == 0 and "6 pictures, 3 that could not be read" in text, text
    frame = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    assert frame["picture"].iloc[-1] == "latin\\xff.jpg" and "no UTF-8" in frame["error"].iloc[-1]
    (tmp_path / "odd").mkdir()
    (photos / name).rename(tmp_path / "odd" / name)
    code, text = call("classify", tmp_path / "odd", "--out", tmp_path / "t.csv", *options)
    assert (
        code == 1 and "none of 1 pictures can be read; latin\\xff.jpg: its name is no UTF-8" in text
    )


def runs(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, 400)
    paths = []
    for number in range(7):
        labels = truth.copy()
        if number == 3:
            labels[:] = 4  # a degenerate run
        else:
            labels[rng.choice(400, 20, replace=False)] = 0
        paths.append(tmp_path / f"run ({number}).csv")
        submissions.write(paths[-1], labels.tolist())
    paths.append(tmp_path / "last.csv")
    paths[-1].write_bytes(paths[0].read_bytes())
    return paths


def test_submissions_are_compared_with_repeats_outliers_and_a_vote(tmp_path) -> None:
    paths, out = runs(tmp_path), tmp_path / "out"
    code, text = call("submissions", "compare", *paths, "--out", out)
    assert code == 0, text
    assert "8 runs of 400 pictures; 1 repeat an earlier one; outliers: run (3)" in text
    found = pd.read_csv(out / "runs.csv", keep_default_na=False)
    assert found["outlier"].tolist() == ["", "", "", "yes", "", "", "", ""]
    assert found["repeats"].tolist()[-1] == "run (0)" and found["differs from last"].iloc[0] == 0
    agreement = pd.read_csv(out / "agreement.csv", index_col=0).to_numpy()
    assert (agreement == agreement.T).all() and (np.diag(agreement) == 400).all()
    assert len(submissions.read(out / "vote.csv", rows=400, classes=6)) == 400
    with Image.open(out / "agreement.png") as image:
        assert image.width > 300


def test_a_comparison_replaces_an_earlier_one_and_nothing_else(tmp_path) -> None:
    paths = runs(tmp_path)
    for _ in range(2):
        code, text = call("submissions", "compare", *paths, "--out", tmp_path / "out")
        assert code == 0, text
    mine = paths[0].rename(tmp_path / "vote.csv")
    before = mine.read_bytes()
    code, text = call("submissions", "compare", mine, *paths[1:], "--out", tmp_path)
    assert code == 1 and "a comparison needs a folder of its own (it writes agreement.csv" in text
    assert mine.read_bytes() == before


def test_what_is_compared_is_not_written_over(
    tmp_path,
) -> None:
    files, out = runs(tmp_path), tmp_path / "c"
    comparison.compare(files, out)
    vote = (out / "vote.csv").read_bytes()
    with pytest.raises(
        InputError, match=r"holds vote\.csv, which is compared; name another folder"
    ):
        comparison.compare([out / "vote.csv", *files], out)
    assert (out / "vote.csv").read_bytes() == vote
    assert {path.name for path in out.iterdir()} == comparison.WRITTEN and len(
        list(tmp_path.glob(".c*"))
    ) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/agreement.csv").write_text("mine")
    with pytest.raises(InputError, match="a comparison needs a folder of its own"):
        comparison.compare(files, tmp_path / "mine")


@pytest.mark.parametrize("suffix", [".gz", ".zip", ".xz", ".tar", ".zst"])
def test_a_submission_is_text_whatever_its_name(tmp_path, suffix: str) -> None:
    path = tmp_path / f"s.csv{suffix}"
    path.write_text(",".join(submissions.HEADER) + "\n0,1\n")
    assert submissions.read(path).tolist() == [1]
    path.write_bytes(b"\x1f\x8b\xff")
    with pytest.raises(InputError, match="is not UTF-8"):
        submissions.read(path)


def test_runs_of_equal_names_are_told_apart_by_their_folders() -> None:
    paths = [Path("a/x.csv"), Path("b/x.csv"), Path("y.csv")]
    assert comparison.short_names(paths) == ["a/x", "b/x", "y"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id_idx,label\n0,1\n", "has 1 rows, "),
        ("id,label\n0,1\n1,1\n", "header 'id,label'; it must be 'id_idx,label'"),
        ("id_idx,label\n0,1\n2,1\n", "line 3: id '2' where 1 belongs"),
        ("id_idx,label\n0,1\n1,x\n", "line 3: label 'x'; it must be a whole number"),
        ("", "is empty; its header must be 'id_idx,label'"),
    ],
)
def test_a_faulty_submission_is_named_with_its_line(tmp_path, content, message) -> None:
    submissions.write(tmp_path / "good.csv", [0, 1])
    (tmp_path / "bad.csv").write_text(content)
    code, text = call("submissions", "compare", tmp_path / "good.csv", tmp_path / "bad.csv")
    assert code != 0 and message in text


def test_one_submission_cannot_be_compared(tmp_path) -> None:
    submissions.write(tmp_path / "a.csv", [0])
    code, text = call("submissions", "compare", tmp_path / "a.csv")
    assert code != 0 and "at least two" in text
