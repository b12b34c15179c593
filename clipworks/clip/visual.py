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
        _resnet(visual, images, positional) if is_resnet(visual) else _vit(visual, images)
    )
    return F.normalize(pooled.float(), dim=-1), F.normalize(dense.float(), dim=-1)


def check(visual: Any, name: str) -> None:
    """Raises InputError, with the model's name, for a tower whose dense features are not known."""
    plain = hasattr(visual, "transformer") and getattr(visual, "attn_pool", None) is None
    if not is_resnet(visual) and not (plain and hasattr(visual, "conv1")):
        raise InputError(
            f"backbone.model: {name} has the visual tower {type(visual).__name__}; dense features "
            "are known for open_clip's ModifiedResNet, and its VisionTransformer without attention pooling"
        )


def is_resnet(visual: Any) -> bool:
    """Whether a visual tower is open_clip's ModifiedResNet."""
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
    x = vit_tokens(visual, images)
    pooled, _ = visual._pool(visual.transformer.resblocks[-1](x))
    if visual.proj is not None:
        pooled = pooled @ visual.proj
    return pooled, vit_dense(visual, x)


def vit_tokens(visual: Any, images: Float[Tensor, "window 3 height width"]) -> Tensor:
    """What enters the last block of a VisionTransformer, of shape (window, 1 + patch, width)."""
    x = vit_embed(visual, images)
    for block in visual.transformer.resblocks[:-1]:
        x = block(x)
    return x


def vit_embed(visual: Any, images: Float[Tensor, "window 3 height width"]) -> Tensor:
    """What enters the first block: the class token, then the patches.

    Images of another size than the tower's get its positions interpolated (bicubic), as when a ViT is
    fine-tuned at a higher resolution.
    """
    patches = visual.conv1(images)
    places = positions(visual, tuple(patches.shape[2:])).to(patches.dtype)
    patches = visual.ln_pre(patches.flatten(2).transpose(1, 2) + places[1:])
    return torch.cat(
        [vit_token(visual).to(patches.dtype).expand(len(patches), 1, -1), patches], dim=1
    )


def vit_token(visual: Any) -> Float[Tensor, " width"]:
    """The class token as it enters the first block."""
    found: Tensor = visual.ln_pre(visual.class_embedding + visual.positional_embedding[0])
    return found


def positions(visual: Any, grid: tuple[int, ...]) -> Float[Tensor, "token width"]:
    """A VisionTransformer's positions on a grid of another size: class token first, bicubic."""
    own = visual.positional_embedding
    if grid == tuple(visual.grid_size):
        return own
    maps = own[1:].T.unflatten(1, visual.grid_size)[None]
    maps = F.interpolate(maps, grid, mode="bicubic", align_corners=False)
    return torch.cat([own[:1], maps[0].flatten(1).T])


def vit_dense(visual: Any, x: Float[Tensor, "window token width"]) -> Tensor:
    """The patches through the last block as if each asked itself alone, then to CLIP's space."""
    last = visual.transformer.resblocks[-1]
    weight, bias = (w.chunk(3)[2] for w in (last.attn.in_proj_weight, last.attn.in_proj_bias))
    value = last.attn.out_proj(F.linear(last.ln_1(x), weight, bias))
    return vit_end(visual, x, value)[:, 1:]


def vit_end(visual: Any, x: Float[Tensor, "*item width"], attended: Tensor) -> Tensor:
    """From what the last block's attention gave its tokens to CLIP's space."""
    last = visual.transformer.resblocks[-1]
    x = x + last.ls_1(attended)
    x = visual.ln_post(x + last.ls_2(last.mlp(last.ln_2(x))))
    return x if visual.proj is None else x @ visual.proj


def blend_captions(
    pooled: Float[Tensor, "window dim"], bank: Float[Tensor, "caption dim"], *, nearest: int
) -> tuple[Float[Tensor, "window dim"], Float[Tensor, "window nearest"]]:
    """Move each pooled feature half-way to the mean of its nearest captions.

    Returns:
        the blended features (not normed again) and the cosines with those captions.
    """
    similarities, index = (pooled @ bank.T).topk(min(nearest, len(bank)), dim=1)
    return (pooled + bank[index].mean(dim=1)) / 2, similarities
