"""Global and dense features of an image from one pass of the visual tower."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float, UInt8


def normalise(
    images: UInt8[Tensor, "window 3 height width"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Tensor, "window 3 height width"]:
    """uint8 pixels to the floats that the tower was trained on."""
    scale = torch.tensor(std, device=images.device).view(3, 1, 1) * 255
    shift = torch.tensor(mean, device=images.device).view(3, 1, 1) * 255
    return (images.float() - shift) / scale


def features(
    visual: Any, images: Float[Tensor, "window 3 size size"], *, positional: bool
) -> tuple[Float[Tensor, "window dim"], Float[Tensor, "window position dim"]]:
    """Pooled and dense features, L2-normed.

    Args:
        visual: an open_clip visual tower: ModifiedResNet or VisionTransformer.
        positional: whether the attention pool of a ModifiedResNet adds its positional embedding.
            The solution leaves it out (windows have no place of their own); a VisionTransformer
            always has it.

    Raises:
        InputError: a tower of another kind.
    """
    check(visual, "this model")
    pooled, dense = (
        _resnet(visual, images, positional) if _is_resnet(visual) else _vit(visual, images)
    )
    return F.normalize(pooled.float(), dim=-1), F.normalize(dense.float(), dim=-1)


def check(visual: Any, name: str) -> None:
    """Raises InputError, with the model's name, for a tower whose dense features are not known."""
    if not _is_resnet(visual) and not (hasattr(visual, "transformer") and hasattr(visual, "conv1")):
        raise InputError(
            f"backbone.model: {name} has the visual tower {type(visual).__name__}; dense features "
            "are known for open_clip's ModifiedResNet and VisionTransformer"
        )


def _is_resnet(visual: Any) -> bool:
    return hasattr(visual, "attnpool") and hasattr(visual, "layer4")


def trunk(visual: Any, images: Float[Tensor, "window 3 height width"]) -> Tensor:
    """A ModifiedResNet up to its last maps, of shape (window, channel, row, column); any size goes."""
    x = visual.stem(images)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    return x


def _resnet(visual: Any, images: Tensor, positional: bool) -> tuple[Tensor, Tensor]:
    """The attention pool with the mean as its only query; the dense features skip the attention.

    A position's dense feature is its value projection followed by the output projection (as in
    MaskCLIP, arXiv:2112.01071, and TaI-DPT).
    """
    pool = visual.attnpool
    parts = trunk(visual, images).flatten(2).transpose(1, 2)  # (window, position, channel)
    keys = torch.cat([parts.mean(dim=1, keepdim=True), parts], dim=1)
    if positional:
        keys = keys + pool.positional_embedding.to(keys.dtype)
    values = pool.v_proj(keys)

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)

    query = heads(pool.q_proj(keys[:, :1]))
    mixed = F.scaled_dot_product_attention(query, heads(pool.k_proj(keys)), heads(values))
    pooled = pool.c_proj(mixed.transpose(1, 2).flatten(2)[:, 0])
    return pooled, pool.c_proj(values[:, 1:])


def _vit(visual: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """The tower as it is, and the last block's value path for the patches (MaskCLIP)."""
    x = visual._embeds(images)
    *early, last = visual.transformer.resblocks
    for block in early:
        x = block(x)
    normed = last.ln_1(x)
    value_weight = last.attn.in_proj_weight.chunk(3)[2]
    value_bias = last.attn.in_proj_bias.chunk(3)[2]
    value = last.attn.out_proj(F.linear(normed, value_weight, value_bias))
    dense = x + last.ls_1(value)
    dense = dense + last.ls_2(last.mlp(last.ln_2(dense)))
    pooled, _ = visual._pool(last(x))
    dense = visual.ln_post(dense)[:, 1:]
    if visual.proj is not None:
        pooled, dense = pooled @ visual.proj, dense @ visual.proj
    return pooled, dense


def blend_captions(
    pooled: Float[Tensor, "window dim"], bank: Float[Tensor, "caption dim"], *, nearest: int
) -> tuple[Float[Tensor, "window dim"], Float[Tensor, "window nearest"]]:
    """Move each pooled feature half-way to the mean of its nearest captions.

    Returns:
        the blended features (not normed again) and the cosines with those captions.
    """
    similarities, index = (pooled @ bank.T).topk(min(nearest, len(bank)), dim=1)
    return (pooled + bank[index].mean(dim=1)) / 2, similarities
