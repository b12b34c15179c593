"""Visual features: the pool is CLIP's own, and unknown towers are refused by name."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clipworks.clip import visual
from clipworks.kit.errors import InputError

import open_clip  # isort: skip


def test_with_positional_embedding_the_pooled_feature_is_clips_own(clip) -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = F.normalize(clip.model.encode_image(images), dim=-1)
        pooled, dense = visual.features(clip.model.visual, images, positional=True)
        without, _ = visual.features(clip.model.visual, images, positional=False)
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-4)
    assert (without - expected).abs().max() > 1e-3
    torch.testing.assert_close(dense.norm(dim=-1), torch.ones(dense.shape[:2]))


def test_a_tower_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"convnext_base has the visual tower Linear; dense"):
        visual.check(nn.Linear(2, 2), "convnext_base")
    pooled = open_clip.CLIP(
        32, {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16, "attentional_pool": True},
        {"context_length": 8, "vocab_size": 99, "width": 32, "heads": 2, "layers": 1},
    )  # fmt: skip
    with pytest.raises(InputError, match=r"own has .* VisionTransformer without attention pooling"):
        visual.check(pooled.visual, "own")
