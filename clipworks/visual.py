"""Global and dense features of an image from one pass of the visual tower."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipworks.jaxshapes import Float


def features(
    visual: nn.Module, images: Float[Tensor, "window 3 size size"], *, positional: bool
) -> tuple[Float[Tensor, "window dim"], Float[Tensor, "window position dim"]]:
    """Pooled and dense features, L2-normed.

    Args:
        visual: an open_clip visual tower: ModifiedResNet or VisionTransformer.
        positional: whether the attention pool of a ModifiedResNet adds its positional embedding.
            The solution leaves it out (windows have no place of their own); a VisionTransformer
            always has it.

    Raises:
        ValueError: a tower of another kind.
    """
    if hasattr(visual, "attnpool") and hasattr(visual, "layer4"):
        pooled, dense = _resnet(visual, images, positional)
    elif hasattr(visual, "transformer") and hasattr(visual, "conv1"):
        pooled, dense = _vit(visual, images)
    else:
        raise ValueError(
            f"dense features are known for open_clip's ModifiedResNet and VisionTransformer, not for "
            f"{type(visual).__name__}"
        )
    return F.normalize(pooled.float(), dim=-1), F.normalize(dense.float(), dim=-1)


def trunk(visual: nn.Module, images: Float[Tensor, "window 3 size size"]) -> Tensor:
    """A ModifiedResNet up to its last maps, of shape (window, channel, row, column)."""
    x = visual.stem(images)  # type: ignore[operator]
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)  # type: ignore[operator]
    return x


def _resnet(visual: nn.Module, images: Tensor, positional: bool) -> tuple[Tensor, Tensor]:
    """The attention pool with the mean as its only query; the dense features skip the attention.

    A position's dense feature is its value projection followed by the output projection (as in
    MaskCLIP, arXiv:2112.01071, and TaI-DPT).
    """
    pool = visual.attnpool
    parts = trunk(visual, images).flatten(2).transpose(1, 2)  # (window, position, channel)
    keys = torch.cat([parts.mean(dim=1, keepdim=True), parts], dim=1)
    if positional:
        keys = keys + pool.positional_embedding.to(keys.dtype)  # type: ignore[union-attr, operator]
    values = pool.v_proj(keys)  # type: ignore[union-attr, operator]

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)  # type: ignore[union-attr]

    query = heads(pool.q_proj(keys[:, :1]))  # type: ignore[union-attr, operator]
    mixed = F.scaled_dot_product_attention(query, heads(pool.k_proj(keys)), heads(values))  # type: ignore[union-attr, operator]
    pooled = pool.c_proj(mixed.transpose(1, 2).flatten(2)[:, 0])  # type: ignore[union-attr, operator]
    return pooled, pool.c_proj(values[:, 1:])  # type: ignore[union-attr, operator]


def _vit(visual: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The tower as it is, and the last block's value path for the patches (MaskCLIP)."""
    x = visual._embeds(images)  # type: ignore[operator]
    *early, last = visual.transformer.resblocks  # type: ignore[union-attr]
    for block in early:
        x = block(x)
    normed = last.ln_1(x)
    value_weight = last.attn.in_proj_weight.chunk(3)[2]
    value_bias = last.attn.in_proj_bias.chunk(3)[2]
    value = last.attn.out_proj(F.linear(normed, value_weight, value_bias))
    dense = x + last.ls_1(value)
    dense = dense + last.ls_2(last.mlp(last.ln_2(dense)))
    pooled, _ = visual._pool(last(x))  # type: ignore[operator]
    dense = visual.ln_post(dense)[:, 1:]  # type: ignore[operator]
    if visual.proj is not None:
        pooled, dense = pooled @ visual.proj, dense @ visual.proj  # type: ignore[operator]
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
