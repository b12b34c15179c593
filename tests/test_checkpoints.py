"""Weights of one's own: what lies beside a checkpoint says how its pictures want to be prepared."""

import json
from pathlib import Path

import pytest
from conftest import TINY
from safetensors.torch import save_file

from clipworks.clip import backbone, pretrained


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a model that open_clip knows by its name."""
    monkeypatch.setitem(pretrained.open_clip.factory._MODEL_CONFIGS, "Tiny", TINY)
    save_file(backbone.new(TINY, seed=0).state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def beside(checkpoint: Path, resize: str | None = "squash", **model: object) -> None:
    preprocess = {"mean": [0.5] * 3, "std": [0.4] * 3, "resize_mode": resize}
    config = {"model_cfg": {**TINY, **model}, "preprocess_cfg": preprocess}
    (checkpoint.parent / backbone.CONFIG).write_text(json.dumps(config))


def test_the_config_beside_a_checkpoint_says_how_pictures_are_prepared(checkpoint) -> None:
    _, _, bare = pretrained.load("Tiny", "", checkpoint, "gelu")
    assert bare["resize_mode"] == "shortest" and bare["std"] == backbone.OPENAI_STD
    assert pretrained.resize_mode("Tiny", "", checkpoint) == "shortest"
    beside(checkpoint)
    clip = pretrained.named(f"Tiny:{checkpoint}")
    assert (clip.mean, clip.std, clip.resize_mode) == ((0.5,) * 3, (0.4,) * 3, "squash")
    assert pretrained.resize_mode("Tiny", "", checkpoint) == "squash"
    beside(checkpoint, None)  # a null says nothing
    assert pretrained.named(f"Tiny:{checkpoint}").resize_mode == "shortest"
    assert pretrained.resize_mode("Tiny", "", checkpoint) == "shortest"


@pytest.mark.parametrize("quick", [True, False])
def test_the_config_beside_a_checkpoint_tells_its_activation(
    checkpoint, monkeypatch, quick: bool
) -> None:
    plain = {key: value for key, value in TINY.items() if key != "quick_gelu"}
    monkeypatch.setitem(pretrained.open_clip.factory._MODEL_CONFIGS, "Tiny", plain)
    with pytest.raises(ValueError, match="does not say which activation"):
        pretrained.check("Tiny", "", checkpoint, "auto")
    beside(checkpoint, quick_gelu=quick)
    assert pretrained.check("Tiny", "", checkpoint, "auto") is quick
    config = checkpoint.parent / backbone.CONFIG
    config.write_text(json.dumps({"model_cfg": {"quick_gelu": quick}}))  # is enough
    assert pretrained.check("Tiny", "", checkpoint, "auto") is quick
    for part in ({"preprocess_cfg": {}}, {"model_cfg": {"quick_gelu": None}}):
        config.write_text(json.dumps(part))
        with pytest.raises(ValueError, match="does not say which activation"):
            pretrained.check("Tiny", "", checkpoint, "auto")
    config.write_text(json.dumps({"model_cfg": {"quick_gelu": "false"}}))
    with pytest.raises(ValueError, match=r"quick_gelu is 'false'; it must be true or false"):
        pretrained.check("Tiny", "", checkpoint, "auto")
