"""The visual pass: few images and windows wait, and what comes out says which image it is of."""

import time
from pathlib import Path

import pytest
import torch
from conftest import CLASSES
from PIL import Image

from clipworks.clip import hand
from clipworks.kit.params import load
from clipworks.windows.boxes import Box
from clipworks.windows.params import Infer
from clipworks.windows.scorer import Scorer
from clipworks.windows.tower import Cut, Options
from clipworks.windows.visual_pass import Pass

ROOT = Path(__file__).parent.parent


def work(clip, **changes: object) -> Pass:
    params = load("infer", Infer, ROOT / "params.yaml").model_copy(
        update={"batch_size": 2, "nearest_captions": 3, "store": "float32", **changes}
    )
    models = {"hand": hand.one_template(clip, CLASSES)}
    bank = torch.nn.functional.normalize(torch.eye(32)[:5], dim=-1)
    scorer = Scorer.of(models, CLASSES, {"hand": (4.0, 50.0)})
    return Pass(clip, scorer, bank, Options.of(params, "crops"), torch.device("cpu"))


def cuts(*windows: int) -> list[Cut]:
    """Images by their numbers of windows, each window of one grey."""
    found = []
    for number, count in enumerate(windows):
        pixels = torch.full((count, 3, 32, 32), 20 * number, dtype=torch.uint8)
        boxes = [Box(number, window, 50, 60) for window in range(count)]
        found.append(Cut(f"{number}.png", boxes, pixels))
    return found


def test_what_is_scored_in_parts_equals_what_is_scored_at_once(clip) -> None:
    images = cuts(4, 5, 3)
    parts, whole = work(clip).score(iter(images)), work(clip, batch_size=256).score(iter(images))
    assert parts.keys() == whole.keys() == {"logits", "similarities", "boxes", "offsets"}
    assert parts["offsets"].tolist() == whole["offsets"].tolist() == [0, 4, 9, 12]
    assert parts["boxes"].tolist() == whole["boxes"].tolist()
    assert whole["boxes"][5].tolist() == [1, 1, 50, 60] and whole["boxes"].dtype == torch.int32
    torch.testing.assert_close(parts["logits"], whole["logits"], atol=1e-5, rtol=1e-4)
    assert whole["logits"].shape == (12, 3, 1, 6) and whole["similarities"].shape == (12, 3)
    assert work(clip).score(iter([])) == {}


def test_half_precision_changes_the_features_a_little(clip) -> None:
    image = cuts(3)[0]
    assert image.crops is not None
    noisy = [Cut(image.name, image.boxes, image.crops + torch.arange(32, dtype=torch.uint8))]
    whole, _ = work(clip).tower.encode(noisy)
    half, _ = work(clip, precision="bf16").tower.encode(noisy)
    assert half.dtype == torch.float32 and 0 < (half - whole).abs().max() < 0.05


def test_images_are_decoded_in_order_and_eight_ahead(clip, monkeypatch) -> None:
    chosen, begun = work(clip), []

    def cut(name: str, source: Path) -> Cut:
        assert source == Path("images") / name
        begun.append(name)
        return Cut(name, [])

    monkeypatch.setattr(chosen.tower, "cut", cut)
    names = [f"{number}.png" for number in range(20)]
    stream = chosen.ahead(Path("images"), names)
    taken = [next(stream).name]
    for expected in (8, 9, 10):
        until = time.monotonic() + 2
        while len(begun) < expected and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.02)
        assert len(begun) == expected
        taken.append(next(stream).name)
    assert taken + [cut.name for cut in stream] == names


def test_an_image_is_cut_into_itself_and_its_windows(clip, tmp_path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.png")
    found = work(clip).tower.cut("red.png", tmp_path / "red.png")
    assert found.name == "red.png" and found.reason is None
    assert found.boxes[0] == Box(0, 0, 64, 48) and len(found.boxes) == 1 + 40 + 100
    assert found.crops.shape == (141, 3, 32, 32)
    bad = work(clip).tower.cut("gone.png", tmp_path / "gone.png")
    assert (bad.boxes, bad.reason) == ([], "the file does not exist")


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("float16", torch.half)])
def test_options_are_those_of_the_params(name: str, dtype: torch.dtype) -> None:
    changes = {"store": name, "scales": [4], "positional": True}
    params = load("infer", Infer, ROOT / "params.yaml").model_copy(update=changes)
    found = Options.of(params, "maps")
    assert (found.windows, found.maps, found.scales) == ("maps", params.maps, [4])
    assert (found.store, found.positional, found.nearest) == (dtype, True, 10)
    assert (found.batch_size, found.precision, found.max_pixels) == (256, "fp32", 100_000_000)
