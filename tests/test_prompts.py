"""Prompts: cut towers equal whole ones, files fit or are refused, captions are packed as encoded."""

import json

import numpy as np
import pytest
import torch
from conftest import CLASSES, TINY
from safetensors.torch import save_file
from torch.nn import functional as F

from clipworks.clip import backbone, features, hand, pretrained, text
from clipworks.tuning.prompts import Prompts, load


def test_the_cut_tower_equals_the_whole_one(clip) -> None:
    tokens = clip.tokenize(
        ["a photo of a dog.", "a cup and a bus on a very long street in the rain."]
    )
    pooled, parts = text.encode_tokens(clip.model, tokens)
    torch.testing.assert_close(pooled, clip.model.encode_text(tokens), atol=1e-5, rtol=1e-5)
    whole = text.encode_embeddings(clip.model, clip.model.token_embedding(tokens))
    torch.testing.assert_close(parts, whole[:, : parts.shape[1]], atol=1e-5, rtol=1e-5)


def spelled(clip, name: str, prompts: Prompts, kind: str) -> torch.Tensor:
    """The prompt of one class the obvious way: at 77 positions, alone."""
    tokens = clip.tokenize([f"{name}."])[0]
    embedded = clip.model.token_embedding(tokens)
    length = int(tokens.argmax()) - 2
    context = prompts.contexts[kind]
    split = {"end": prompts.n, "middle": prompts.n // 2, "front": 0}[prompts.name_position]
    row = torch.cat(
        [
            embedded[:1],
            context[:split],
            embedded[1 : 1 + length],
            context[split:],
            embedded[1 + length :],
        ]
    )
    return text.encode_embeddings(clip.model, row[None, :77])[0, 1 + prompts.n + length + 1]


@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_class_features_equal_prompts_spelled_out_at_77_positions(clip, position: str) -> None:
    prompts = Prompts(clip, CLASSES, contexts=6, evidence=True, name_position=position)
    found = prompts(clip.model)
    for kind in ("global", "local", "evidence"):
        expected = torch.stack([spelled(clip, name, prompts, kind) for name in CLASSES])
        torch.testing.assert_close(found[kind], F.normalize(expected, dim=-1), atol=1e-5, rtol=1e-4)


def test_class_specific_contexts_differ_by_class_and_are_trained_apart(clip) -> None:
    prompts = Prompts(clip, CLASSES, contexts=3, evidence=False, class_specific=True)
    prompts(clip.model)["global"][1].sum().backward()
    gradient = prompts.contexts["global"].grad
    assert gradient[1].abs().sum() > 0 and gradient[0].abs().sum() == 0


def test_contexts_may_begin_from_words(clip) -> None:
    prompts = Prompts(clip, CLASSES, contexts=4, evidence=False, init_words="a photo of a")
    expected = hand.one_template(clip, CLASSES)["global"]
    torch.testing.assert_close(prompts(clip.model)["global"], expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="has 4 tokens, but contexts is 5"):
        Prompts(clip, CLASSES, contexts=5, evidence=False, init_words="a photo of a")


def test_prompts_that_do_not_fit_the_tower_are_refused(clip) -> None:
    with pytest.raises(ValueError, match="use at most 7"):
        Prompts(clip, CLASSES, contexts=75, evidence=False)
    Prompts(clip, CLASSES, contexts=72, evidence=False)


def test_saved_prompts_come_back_bit_for_bit(clip, tmp_path) -> None:
    prompts = Prompts(clip, CLASSES, contexts=3, evidence=True, name_position="middle", seed=3)
    prompts.save(tmp_path / "p.safetensors", model="base")
    again = load(tmp_path / "p.safetensors", clip, CLASSES)
    for kind, value in prompts(clip.model).items():
        assert torch.equal(again(clip.model)[kind], value)


def test_prompts_of_another_class_list_are_refused(clip, tmp_path) -> None:
    Prompts(clip, CLASSES, contexts=3, evidence=False).save(tmp_path / "p.safetensors")
    with pytest.raises(
        ValueError, match=r"another class list: only there \['bus'\], only here \['boat'\]"
    ):
        load(tmp_path / "p.safetensors", clip, [*CLASSES[:-1], "boat"])
    with pytest.raises(ValueError, match="do not exist"):
        load(tmp_path / "none.safetensors", clip)


def test_prompts_of_another_backbone_are_refused(clip, tmp_path) -> None:
    about = {"class_names": json.dumps(CLASSES), "name_position": "end"}
    tensors = {"contexts.global": torch.zeros(4, 512), "contexts.local": torch.zeros(4, 512)}
    save_file(tensors, tmp_path / "p.safetensors", metadata={"clipworks": json.dumps(about)})
    with pytest.raises(ValueError, match=r"width 512, the text tower .* has 32"):
        load(tmp_path / "p.safetensors", clip, CLASSES)


def test_a_vision_transformer_with_a_custom_text_tower_is_tuned_too(tmp_path) -> None:
    import open_clip

    config = {
        **TINY,
        "vision_cfg": {
            "image_size": 32,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
    }
    model = open_clip.CustomTextCLIP(**config)
    backbone.save(tmp_path, model, {**config, "custom_text": True}, {"size": 32})
    loaded = backbone.load(tmp_path)
    assert hasattr(loaded.model, "text")
    classes = Prompts(loaded, CLASSES, contexts=4, evidence=True)(loaded.model)
    assert classes["evidence"].shape == (6, 32)
    from clipworks.clip import visual

    images = torch.randn(2, 3, 32, 32)
    pooled, dense = visual.features(loaded.model.visual, images, positional=False)
    torch.testing.assert_close(
        pooled, F.normalize(loaded.model.encode_image(images), dim=-1), atol=1e-5, rtol=1e-4
    )
    assert dense.shape == (2, 16, 32)


def test_a_tower_that_is_not_causal_is_refused_by_name() -> None:
    import open_clip

    config = {**TINY, "text_cfg": {**TINY["text_cfg"], "no_causal_mask": True, "pool_type": "last"}}
    model = open_clip.CustomTextCLIP(**config)
    with pytest.raises(
        ValueError,
        match=r"two-way: prompts are tuned at the token embedding of a causal.*CustomTextCLIP has no attn_mask",
    ):
        text.check_causal(model, "two-way")


def test_a_backbone_that_cannot_be_had_is_refused_with_names(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"no model 'RN5000'; close names: \[.*'RN50'"):
        pretrained.load("RN5000", "openai", None, "auto")
    with pytest.raises(ValueError, match="'mine' is no tag of RN50"):
        pretrained.load("RN50", "mine", None, "auto")
    with pytest.raises(ValueError, match=r"lacks open_clip_config\.json"):
        backbone.load(tmp_path)


def test_pretrained_weights_from_a_file_go_through_the_same_form(tmp_path, monkeypatch) -> None:
    import open_clip

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-test", TINY)
    model = backbone.new(TINY, seed=5)
    save_file(model.state_dict(), tmp_path / "mine.safetensors")
    loaded, config, preprocess = pretrained.load(
        "tiny-test", "", tmp_path / "mine.safetensors", "auto"
    )
    backbone.save(tmp_path / "out", loaded, config, preprocess)
    tokens = backbone.load(tmp_path / "out").tokenize(["a dog"])
    again = backbone.load(tmp_path / "out").model.encode_text(tokens)
    torch.testing.assert_close(again, model.eval().encode_text(tokens))


def test_captions_are_packed_as_they_are_encoded_one_by_one(clip, tmp_path) -> None:
    texts = ["a dog", "a cup and a bus and a person in the street", "hot dog", "x " * 200]
    cut = features.encode(
        clip, texts, tmp_path, batch_size=2, dtype="float32", device=torch.device("cpu")
    )
    assert cut == 1  # the last one is longer than 77 tokens
    stored = features.CaptionFeatures(tmp_path)
    packed = stored.batch(np.array([2, 0, 3]), torch.device("cpu"))
    assert packed.items == 3
    for row, index in enumerate((2, 0, 3)):
        pooled, parts = text.encode_tokens(clip.model, clip.tokenize([texts[index]]))
        got = packed.parts[packed.item == row]
        torch.testing.assert_close(got, F.normalize(parts[0], dim=-1), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            packed.pooled[row], F.normalize(pooled[0], dim=-1), atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(stored.pooled(np.array([2, 0, 3])), packed.pooled)
    assert not stored.hold(torch.device("cpu"), limit=10)
    assert stored.hold(torch.device("cpu"), limit=10**6)
    assert torch.equal(stored.batch(np.array([2, 0, 3]), torch.device("cpu")).parts, packed.parts)
