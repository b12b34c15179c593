"""Crops and maps side by side: each row has its windows, and an unseen way has no rows."""

import pytest
import torch
from conftest import CLASSES
from seeing import HOW, NAMES, run
from test_inference import ROOT

from clipworks.clip import hand
from clipworks.fusion import leaderboard
from clipworks.fusion.params import Ensemble
from clipworks.fusion.rows import rows
from clipworks.kit.params import load


@pytest.mark.parametrize("ways", [("crops",), ("crops", "maps")])
def test_rows_take_the_windows_of_their_way(clip, folder, tmp_path, ways) -> None:
    names = ("hand", "hand80", "compound", "base", "ema")
    models = {name: hand.one_template(clip, CLASSES) for name in names}
    for way in ways:
        out = tmp_path / way / "test"
        run(clip, models, folder, out, tmp_path / f"s{way}", **(HOW if way == "maps" else {}))
    params = load("ensemble", Ensemble, ROOT / "params.yaml")
    routes = {name: {"base": 1.0} for name in CLASSES}
    wanted = [row for row in rows(["base", "ema"]) if row.windows in ways]
    board = leaderboard.score(tmp_path, "test", wanted, params, routes, torch.zeros(6, 6))
    assert set(board.rows) == {row.name for row in wanted if row.windows in ways}
    assert len(board.images) == len(NAMES) - 2
    shown = {"crops": "recommended_crops", "maps": "recommended"}
    assert list(board.windows) == [shown[way] for way in ways]
    if "maps" in ways:
        assert not torch.allclose(board.rows["maps_ensemble"], board.rows["ensemble"])
