"""What makes features of a map's points, for both kinds of tower; ResNets are held in test_maps too."""

import copy

import pytest
import torch
from seeing import HOW, run, work
from test_crops import photograph
from test_maps import FINE, features, made, of_crops
from torch.nn import functional as F

from clipworks.clip import backbone, visual
from clipworks.kit.errors import InputError
from clipworks.windows import crops, maps, readers
from clipworks.windows.boxes import Box, boxes
from clipworks.windows.params import Maps


def test_the_reach_is_as_far_as_a_change_of_one_cell_goes(clip) -> None:
    tower = clip.model.visual
    reach = readers.ResNet(tower).reach
    images = torch.randn(2, 3, 32 * 11, 32 * 11, generator=torch.Generator().manual_seed(0))
    images[1] = images[0]
    images[1, :, 160:192, 160:192] = 0
    with torch.inference_mode():
        a, b = visual.trunk(tower, images)
    changed = (a != b).any(dim=0).nonzero()
    assert changed.min() >= 5 - reach and changed.max() <= 5 + reach
    assert (readers.ResNet(Backboneless([3, 4, 6, 3])).reach, reach) == (7, 2)


class Backboneless:
    """The blocks of an RN50, as far as their strides go."""

    def __init__(self, layers: list[int]) -> None:
        for number, count in enumerate(layers, 1):
            strides = [1 if number == 1 else 2, *[1] * (count - 1)]
            setattr(self, f"layer{number}", [type("Block", (), {"stride": s}) for s in strides])


@pytest.fixture(scope="module")
def vit(clip) -> backbone.Backbone:
    """The tiny CLIP with a ViT of random weights for its visual tower: 4 x 4 patches of 8 pixels."""
    config = {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 32, "patch_size": 8, "layers": 3, "width": 32, "head_width": 16,
        },
        "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 32, "heads": 2, "layers": 1},
    }  # fmt: skip
    model = copy.deepcopy(clip.model)
    model.visual = backbone.new(config, seed=1).visual.eval().requires_grad_(False)
    for name, parameter in model.visual.named_parameters():
        if "attn" in name:  # sharp enough that who is asked matters
            parameter.data *= 4
    return backbone.Backbone(**{**vars(clip), "model": model, "name": "ViT-tiny"})


@pytest.mark.parametrize("side", [32, 75])
def test_the_whole_image_has_a_vits_own_features(vit, side) -> None:
    image, whole = crops.pixels(photograph(side, side)), [Box(0, 0, side, side)]
    pooled, dense = features(vit, made(vit, image, whole, FINE), 1)
    expected = of_crops(vit, image, whole)
    assert dense.shape == (1, 16, 32)
    torch.testing.assert_close(pooled, expected[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(dense, expected[1], atol=1e-4, rtol=0)
    own = vit.model.visual(
        visual.normalise(
            crops.cut(image, whole, size=32, resize_mode="shortest"), vit.mean, vit.std
        )
    )
    torch.testing.assert_close(pooled, F.normalize(own, dim=-1), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_each_window_of_a_vit_has_a_token_that_asks_its_patches_in_every_block(vit) -> None:
    """The obvious way: all blocks with one mask, a token for each window before all others."""
    image = crops.pixels(photograph(64, 64))
    found = [Box(0, 0, 32, 32), Box(16, 24, 48, 56), Box(32, 8, 64, 40)]
    (part,) = made(vit, image, found, FINE)
    assert part.pixels.shape == (3, 64, 64)  # 8 x 8 cells, interpolated from 4 x 4 positions
    pooled, dense = features(vit, [part], 3)
    tower = vit.model.visual
    x = visual.vit_embed(tower, visual.normalise(image[None], vit.mean, vit.std))
    x = torch.cat([visual.vit_token(tower).expand(1, 3, -1), x], dim=1)  # windows, image, patches
    inside = torch.zeros(3, 8, 8, dtype=torch.bool)
    for window, box in zip(inside, found, strict=True):
        window[box.top // 8 : box.bottom // 8, box.left // 8 : box.right // 8] = True
    allowed = torch.zeros(68, 68, dtype=torch.bool)
    allowed[:3, :3], allowed[:3, 4:] = torch.eye(3, dtype=torch.bool), inside.flatten(1)
    allowed[3:, 3] = allowed[3, 3:] = True
    rows, columns = (torch.arange(64) // 8, torch.arange(64) % 8)
    for a in range(64):
        for b in range(64):
            apart = max(abs(rows[a] - rows[b]), abs(columns[a] - columns[b]))
            allowed[4 + a, 4 + b] = apart <= 2  # a window is 4 cells wide
    mask = torch.zeros(68, 68).masked_fill(~allowed, float("-inf"))
    for block in tower.transformer.resblocks[:-1]:
        x = block(x, attn_mask=mask)
    every = F.normalize(visual.vit_dense(tower, x[:, 3:]), dim=-1)[0]
    done = tower.transformer.resblocks[-1](x, attn_mask=mask)
    expected = F.normalize(tower.ln_post(done[0, :3]) @ tower.proj, dim=-1)
    torch.testing.assert_close(pooled, expected, atol=1e-4, rtol=0)
    assert (pooled[0] - pooled[1]).abs().max() > 1e-2
    for own, window in zip(dense, inside.flatten(1), strict=True):
        torch.testing.assert_close(own, every[window], atol=1e-4, rtol=0)


def test_a_vits_parts_are_bounded_whatever_the_batch(vit, models, tmp_path) -> None:
    image = crops.pixels(photograph(900, 40))
    found = [Box(0, 0, 900, 40), *boxes(900, 40, [2, 3, 4])]
    how = Maps(resolution=1.5, density=1.0, tolerance=0.1)
    reader = maps.reader(vit, how)
    reader.most = 400
    parts = made(vit, image, found, how, reader=reader)
    cells = [part.pixels[0].numel() // reader.stride**2 for part in parts]
    assert len(parts) > 4 and max(cells) <= 400
    assert sorted(i for part in parts for i in part.windows) == list(range(len(found)))


def test_windows_of_a_vit_are_scored_off_maps_alike_in_any_batch(
    vit, models, folder, tmp_path
) -> None:
    for size in (7, 512):
        where = tmp_path / str(size)
        run(vit, models, folder, where, tmp_path / f"s{size}", batch_size=size, **HOW)
    one = work(vit, models, **HOW).tower.cut("1 ü.png", folder / "1 ü.png")
    assert len(one.boxes) > 5 and one.parts
    for path in (tmp_path / "7").glob("*.safetensors"):
        a, b = (_load(tmp_path / size / path.name) for size in ("7", "512"))
        torch.testing.assert_close(a["logits"], b["logits"], atol=1e-4, rtol=1e-3)


def _load(path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def test_a_vit_that_does_not_pool_by_its_class_token_is_refused(vit) -> None:
    mean = copy.deepcopy(vit.model.visual)
    mean.pool_type = "avg"
    with pytest.raises(InputError, match=r"ViT-tiny does not pool by its class token.*use crops"):
        readers.of(mean, 32, 1.5, "ViT-tiny")
