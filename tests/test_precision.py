"""A precision that a processor only imitates is told before it costs time."""

import pytest
import torch
from albums import png, tag
from bad_world import World

from clipworks.settings import check, whole
from clipworks.windows.precision import imitated


@pytest.mark.parametrize(
    ("processor", "precision", "slow"),
    [
        ({"avx512_bf16": False}, "bf16", True),
        ({"avx512_bf16": True}, "bf16", False),
        ({"bf16": True}, "bf16", False),
        ({"amx_bf16": True}, "fp16", True),
        ({"amx_fp16": True}, "fp16", False),
        ({}, "fp32", False),
    ],
)
def test_what_a_processor_imitates_is_slow(monkeypatch, processor, precision, slow) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    assert bool(imitated(precision, torch.device("cpu"))) == slow
    assert imitated(precision, torch.device("cuda")) is None


def test_tag_says_so_before_it_begins(tagger, tmp_dir, monkeypatch, capsys) -> None:
    (tmp_dir / "a.png").write_bytes(png())
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    tag(tagger, ["a.png"], tmp_dir / "out.csv", precision="bf16")
    assert "--precision: bf16 is several times slower than fp32 here" in capsys.readouterr().out


def test_the_check_warns_of_it_by_its_key(finished, tmp_path, monkeypatch) -> None:
    world = World(tmp_path, finished, monkeypatch)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    world.set({"base.device": "cpu", "train.ema.precision": "bf16"})
    assert "train.ema.precision: bf16 is several times slower" in "\n".join(
        check.check(whole.load())
    )
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert "slower" not in "\n".join(check.check(whole.load()))
