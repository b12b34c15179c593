"""Inference and ensemble: one pass equals many, shards resume, routes follow captions."""

from pathlib import Path

import pytest
import torch
from conftest import CLASSES
from safetensors.torch import load_file
from seeing import NAMES, run, work

from clipworks.clip import hand, scoring, visual
from clipworks.fusion import leaderboard
from clipworks.fusion.params import Ensemble
from clipworks.fusion.rows import rows
from clipworks.kit import images
from clipworks.kit.params import load
from clipworks.tuning.prompts import Prompts
from clipworks.windows import crops, manifest, shards, stored
from clipworks.windows.boxes import Box, boxes

ROOT = Path(__file__).parent.parent


def test_one_pass_for_all_models_equals_each_model_on_each_window_alone(
    clip, models, folder, tmp_path
) -> None:
    bad = run(clip, models, folder, tmp_path / "out", tmp_path / "scratch")
    assert bad == {
        "empty.jpg": "the file is empty (0 bytes)",
        "gone.png": "the file does not exist",
    }
    bank = work(clip, models)._bank
    found = list(stored.read(tmp_path / "out"))
    assert [name for part in found for name in part.names] == [n for n in NAMES if n not in bad]
    part = found[0]
    image = images.read(folder / "0 ü.png", max_pixels=10**6)
    everything = [Box(0, 0, *image.size), *boxes(*image.size, [2])]
    assert part.logits.shape[1:] == (41, 3, 3, 6)
    for window in (0, 7, 40):
        cut = crops.cut(crops.pixels(image), [everything[window]], size=32, resize_mode="shortest")
        with torch.inference_mode():
            pooled, dense = visual.features(
                clip.model.visual, visual.normalise(cut, clip.mean, clip.std), positional=False
            )
            blended, near = visual.blend_captions(pooled, bank, nearest=3)
            for index, classes in enumerate(models.values()):
                both = scoring.global_logits(blended, classes["global"], 4.0)
                local = scoring.local_logits(dense, classes["local"], classes.get("evidence"))
                torch.testing.assert_close(
                    part.logits[0, window, 0, index], both[0], atol=1e-5, rtol=1e-4
                )
                torch.testing.assert_close(
                    part.logits[0, window, 1, index], local[0], atol=1e-5, rtol=1e-4
                )
            torch.testing.assert_close(part.similarities[0, window], near[0], atol=1e-5, rtol=1e-4)


def test_shards_survive_a_kill_and_end_with_the_same_bytes(
    clip, models, folder, tmp_path, monkeypatch
) -> None:
    run(clip, models, folder, tmp_path / "calm", tmp_path / "a")
    real = shards._score_shard
    calls = []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(shards, "_score_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        run(clip, models, folder, tmp_path / "killed", tmp_path / "b")
    run(clip, models, folder, tmp_path / "killed", tmp_path / "b")
    assert len(calls) == 4  # three shards; only the one that was interrupted is done twice
    for path in sorted((tmp_path / "calm").iterdir()):
        assert path.read_bytes() == (tmp_path / "killed" / path.name).read_bytes(), path.name


def test_the_batch_size_does_not_change_the_logits(clip, models, folder, tmp_path) -> None:
    run(clip, models, folder, tmp_path / "a", tmp_path / "sa", batch_size=7)
    run(clip, models, folder, tmp_path / "b", tmp_path / "sb", batch_size=512)
    for path in (tmp_path / "a").glob("*.safetensors"):
        a, b = load_file(path), load_file(tmp_path / "b" / path.name)
        torch.testing.assert_close(a["logits"], b["logits"], atol=1e-5, rtol=1e-4)


def test_half_precision_storage_moves_logits_by_less_than_a_hundredth(
    clip, models, folder, tmp_path
) -> None:
    run(clip, models, folder, tmp_path / "a", tmp_path / "sa")
    run(
        clip,
        models,
        folder,
        tmp_path / "b",
        tmp_path / "sb",
        store=torch.float16,
    )
    a, b = (load_file(tmp_path / x / "00000.safetensors") for x in "ab")
    torch.testing.assert_close(a["logits"], b["logits"].float(), atol=0.01, rtol=0)


def test_leaderboard_rows_stream_over_shards(clip, folder, tmp_path) -> None:
    with torch.inference_mode():
        tuned = {
            name: Prompts(clip, CLASSES, contexts=4, evidence=True, seed=i)(clip.model)
            for i, name in enumerate(("base", "ema"))
        }
    names = ("hand", "hand80", "compound")
    all_models = {**{name: hand.one_template(clip, CLASSES) for name in names}, **tuned}
    run(clip, all_models, folder, tmp_path / "out", tmp_path / "scratch")
    params = load("ensemble", Ensemble, ROOT / "params.yaml")
    routes = {name: {"base": 1.0} for name in CLASSES}
    board = leaderboard.score_way(
        tmp_path / "out", rows(["base", "ema"]), params, routes, torch.zeros(6, 6)
    )
    assert len(board.images) == 5 and all(row.shape == (5, 6) for row in board.rows.values())
    torch.testing.assert_close(board.rows["ensemble"], board.rows["base_windows"])
    decided = board.windows["recommended_crops"]
    assert decided.shape == (5, 6) and decided.min() >= 1
    assert manifest.read(tmp_path / "out")["models"] == list(all_models)


def test_global_logits_are_kept_with_captions_and_without(clip, models, folder) -> None:
    chosen = work(clip, {"one": models["hand"]})
    cut = chosen.tower.cut("0 ü.png", folder / "0 ü.png")
    found = chosen.run([cut])
    pooled, _ = chosen.tower.encode([cut])
    blended, _ = visual.blend_captions(pooled, chosen._bank, nearest=3)
    for kind, seen in ((0, blended), (2, pooled)):
        expected = scoring.global_logits(seen, models["hand"]["global"], 4.0)
        torch.testing.assert_close(found["logits"][:, kind, 0], expected, atol=1e-5, rtol=1e-4)


def test_windows_wait_for_few_batches_only(clip, models, folder, tmp_path, monkeypatch) -> None:
    """Memory: however many images a shard has, few tower batches of windows wait at a time."""
    chosen = work(clip, models, batch_size=8)
    real, waiting = chosen.run, []

    def noted(cuts):
        waiting.append(sum(len(cut.boxes) for cut in cuts))
        return real(cuts)

    monkeypatch.setattr(chosen, "run", noted)
    cuts = list(chosen.ahead(folder, NAMES * 4))
    merged = chosen.score(cut for cut in cuts if cut.reason is None)
    largest = max(len(cut.boxes) for cut in cuts)
    assert len(waiting) > 1 and max(waiting) < 4 * 8 + largest
    assert len(merged["offsets"]) == 1 + sum(cut.reason is None for cut in cuts)
