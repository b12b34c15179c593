"""Shards: what is scored once stays scored, what is bad is listed, what changed is noticed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from clipworks.windows import shards, visual_pass
from clipworks.windows.visual_pass import Cut


class Counting(visual_pass.Pass):
    """Stands for the tower: an image's only tensor is the length of its name; "bad" ones are bad."""

    def __init__(self) -> None:
        self.scorer = SimpleNamespace(names=("hand", "base"), class_names=("dog", "cat"))
        self.seen: list[str] = []

    def ahead(self, folder, names) -> Iterator[Cut]:
        for name in names:
            self.seen.append(name)
            yield Cut(name, [], reason="it is bad" if "bad" in name else None)

    def score(self, cuts) -> dict[str, torch.Tensor]:
        lengths = [len(cut.name) for cut in cuts]
        return {"logits": torch.tensor(lengths)} if lengths else {}


NAMES = ["a", "bb", "bad 1", "dddd", "bad 2", "bad 3", "ggggg"]


def score(folder: Path, work: Counting, names: list[str] = NAMES) -> dict[str, str]:
    listed = {"folder": "images", "images": names}
    return shards.score_split(
        work, listed, folder / "out/test", scratch=folder / "scratch/test", per_shard=2
    )


def test_shards_hold_the_good_images_in_order_and_the_manifest_lists_them(tmp_path) -> None:
    bad = score(tmp_path, Counting())
    assert bad == {"bad 1": "it is bad", "bad 2": "it is bad", "bad 3": "it is bad"}
    manifest = json.loads((tmp_path / "out/test/manifest.json").read_text())
    assert manifest == {
        "models": ["hand", "base"],
        "classes": ["dog", "cat"],
        "shards": [
            {"file": "00000.safetensors", "images": ["a", "bb"]},
            {"file": "00001.safetensors", "images": ["dddd"]},
            {"file": "00003.safetensors", "images": ["ggggg"]},  # in 2 every image is bad
        ],
    }
    files = sorted(path.name for path in (tmp_path / "out/test").glob("*.safetensors"))
    assert files == [shard["file"] for shard in manifest["shards"]]
    found = load_file(tmp_path / "out/test/00000.safetensors")
    assert found["logits"].tolist() == [1, 2]
    assert not list((tmp_path / "scratch/test").glob("*.tmp"))


def test_finished_shards_are_not_scored_again_bad_images_included(tmp_path) -> None:
    first = score(tmp_path, Counting())
    (tmp_path / "scratch/test/00001.json").unlink()
    again = Counting()
    # Of finished ones the bad images alone are tried again.
    assert score(tmp_path, again) == first and again.seen == ["bad 1", "dddd", "bad 2", "bad 3"]


def test_what_was_bad_for_a_while_is_scored_when_it_can_be_read(tmp_path) -> None:
    class Mended(Counting):
        def ahead(self, folder, names) -> Iterator[Cut]:
            for cut in super().ahead(folder, names):
                yield Cut(cut.name, []) if cut.name == "bad 2" else cut

    score(tmp_path, Counting())
    assert set(score(tmp_path, Mended())) == {"bad 1", "bad 3"}
    manifest = json.loads((tmp_path / "out/test/manifest.json").read_text())
    assert manifest["shards"][2]["images"] == ["bad 2"]


def test_a_shard_whose_tensors_are_not_whole_is_not_finished(tmp_path, monkeypatch) -> None:
    def dying(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards, "save_file", dying)
        with pytest.raises(KeyboardInterrupt):
            score(tmp_path, Counting())
    assert list((tmp_path / "scratch/test").glob("*.json")) == []
    again = Counting()
    score(tmp_path, again)
    assert again.seen == NAMES


def test_shards_take_disk_space_once_and_are_copied_where_links_are_not_allowed(
    tmp_path, monkeypatch
) -> None:
    score(tmp_path, Counting(), ["a"])
    done, placed = (tmp_path / part / "test/00000.safetensors" for part in ("scratch", "out"))
    assert done.samefile(placed)

    def refused(*arguments: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    score(tmp_path, Counting(), ["a"])
    assert not done.samefile(placed) and done.read_bytes() == placed.read_bytes()


def test_progress_counts_every_image_finished_ones_too(tmp_path, monkeypatch) -> None:
    counts, real = [], shards.tqdm

    def noted(**options):
        bar = real(**options, disable=True)
        monkeypatch.setattr(bar, "update", lambda n=1: counts.append(n))
        assert options["total"] == 7 and options["desc"] == "infer test"
        return bar

    monkeypatch.setattr(shards, "tqdm", noted)
    score(tmp_path, Counting())
    score(tmp_path, Counting())
    assert counts == [1] * 7 + [2, 2, 2, 1]


def test_an_image_is_known_by_name_size_and_time(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"12345")
    os.utime(tmp_path / "a.png", ns=(7, 8))
    listed = {"folder": str(tmp_path), "images": ["a.png", "gone.png"]}
    assert shards.fingerprint(listed) == [["a.png", 5, 8], ["gone.png"]]


def test_bad_images_stop_the_run_above_the_allowed_share(tmp_dir: Path) -> None:
    bad = {"validation": {"a": "it is bad"}, "test": {"b": "it is bad", "c": "it is bad"}}
    report = Path("bad_images.json")
    shards.report_bad(bad, 10, 0.3, report)
    with pytest.raises(ValueError, match=r"^30\.00% of the images are bad, .* allows 29\.00%; bad"):
        shards.report_bad(bad, 10, 0.29, report)
    shards.report_bad({"test": {}}, 0, 0.0, report)
    with pytest.raises(ValueError, match=r"^100\.00%"):
        shards.report_bad({"test": {"b": "it is bad"}}, 1, 0.99, report)
