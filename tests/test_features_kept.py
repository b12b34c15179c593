"""A retrained model costs scoring, not seeing: features of windows outlive a run."""

import pytest
import torch
from safetensors.torch import load_file
from seeing import HOW, NAMES, run, work
from torch.nn import functional as F

from clipworks.kit import images
from clipworks.windows import shards

CROPS = {"windows": "crops"}


@pytest.mark.parametrize("way", [CROPS, HOW])
def test_a_changed_model_starts_from_the_features_kept(
    clip, models, folder, tmp_path, monkeypatch, way
) -> None:
    kept = tmp_path / "features"
    bad = run(clip, models, folder, tmp_path / "a", tmp_path / "sa", features=kept, **way)
    changed = {
        name: {kind: F.normalize(x.roll(1, 0) + 0.1, dim=-1) for kind, x in features.items()}
        for name, features in models.items()
    }
    run(clip, changed, folder, tmp_path / "slow", tmp_path / "s", **way)

    real = images.read

    def blind(path, **options):
        assert path.name in bad, "a good image was looked at"
        return real(path, **options)

    monkeypatch.setattr("clipworks.kit.images.read", blind)
    again = run(clip, models, folder, tmp_path / "b", tmp_path / "sb", features=kept, **way)
    fast = run(clip, changed, folder, tmp_path / "fast", tmp_path / "sf", features=kept, **way)
    assert again == fast == bad and set(bad) == {"empty.jpg", "gone.png"}
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    for path in (tmp_path / "fast").glob("*.safetensors"):
        a, b = load_file(path), load_file(tmp_path / "slow" / path.name)
        assert a.keys() == b.keys() and torch.equal(a["boxes"], b["boxes"])
        torch.testing.assert_close(a["logits"], b["logits"], atol=0.01, rtol=0)


def test_half_a_run_of_seeing_is_not_lost(clip, models, folder, tmp_path, monkeypatch) -> None:
    kept, ways = tmp_path / "deep/features", {"features": tmp_path / "deep/features"}
    run(clip, models, folder, tmp_path / "calm", tmp_path / "a", features=tmp_path / "other")
    real, calls = shards._look, []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(shards, "_look", dying)
    with pytest.raises(KeyboardInterrupt):
        run(clip, models, folder, tmp_path / "out", tmp_path / "b", **ways)
    run(clip, models, folder, tmp_path / "out", tmp_path / "c", **ways)
    assert len(calls) == 4 and len(list(kept.glob("*.json"))) == 3
    for path in sorted((tmp_path / "calm").iterdir()):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name


def test_features_are_kept_within_the_budget_and_for_the_same_windows_alone(
    clip, models, folder, tmp_dir
) -> None:
    chosen, weights = work(clip, models), tmp_dir / "weights"
    weights.write_text("one")
    listed = {"folder": str(folder), "images": NAMES}
    # 7 images of 41 windows, pooled and one position of 32 numbers in half precision: 36,736 bytes
    assert (
        chosen.tower.window_bytes() == 128 and work(clip, models, **HOW).tower.window_bytes() == 320
    )
    settings = {"scales": [2], "windows": "crops", "keep_features_MiB": 1, "nearest_captions": 3}

    def where(**changes):
        return shards.features_folder(
            chosen, "test", listed, {**settings, **changes}, [weights]
        )  # fmt: skip

    first = where()
    assert where(nearest_captions=9) == first != where(windows="maps")
    assert where(scales=[2] * 40) is None  # 1.4 MiB
    assert where(keep_features_MiB=0) is None
    assert where(keep_features_MiB=36_736 / 2**20) == first  # to the byte
    assert where(keep_features_MiB=36_735 / 2**20) is None
    for name in (f"test-{'0' * 16}", first.name, "validation-1"):
        (first.parent / name).mkdir(parents=True)
    assert where() == first
    assert {path.name for path in first.parent.iterdir()} == {first.name, "validation-1"}
    weights.write_text("two")
    assert where() != first
