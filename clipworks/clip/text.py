"""The text tower of any causal open_clip model, cut to the positions that matter.

A causal tower's features at position p depend on positions up to p only, so padding behind the end
token can be cut away without changing anything (and at 77 positions it is most of the work).
"""

from typing import Any

import torch
from torch import Tensor, nn

from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float, Int


def check_causal(model: nn.Module, name: str) -> None:
    """Refuse a model whose prompts cannot be tuned at the token embedding.

    Raises:
        InputError: the text tower is not a causal transformer that pools at the end token.
    """
    tower = getattr(model, "text", model)
    wanted = ("token_embedding", "positional_embedding", "transformer", "ln_final", "attn_mask")
    lacking = [part for part in wanted if getattr(tower, part, None) is None]
    pool = getattr(tower, "pool_type", getattr(tower, "text_pool_type", "none"))
    if lacking or pool not in ("argmax", "eos") or getattr(tower, "cls_emb", None) is not None:
        why = f"no {', '.join(lacking)}" if lacking else f"its pooling is {pool!r}"
        raise InputError(
            f"{name}: prompts are tuned at the token embedding of a causal text tower that pools at "
            f"the end token, as CLIP's does; this {type(model).__name__} has {why}"
        )


def token_embedding(model: nn.Module) -> nn.Embedding:
    """The embedding of token ids, of shape (vocabulary, width)."""
    return getattr(model, "text", model).token_embedding  # type: ignore[return-value]


def lengths(tokens: Int[Tensor, "text token"]) -> Int[Tensor, " text"]:
    """How many positions each text takes, start and end included (the end has the largest id)."""
    return tokens.argmax(dim=1) + 1


def encode_embeddings(
    model: nn.Module, embeddings: Float[Tensor, "text token width"]
) -> Float[Tensor, "text token dim"]:
    """Run the tower on embedded tokens: final norm and projection at every position.

    `embeddings` may have any length up to the context length; positions count from 0.
    """
    tower: Any = getattr(model, "text", model)
    length = embeddings.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    x = embeddings.to(dtype) + tower.positional_embedding[:length].to(dtype)
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    x = tower.ln_final(x)
    if tower.text_projection is None:
        return x
    if isinstance(tower.text_projection, nn.Linear):
        return tower.text_projection(x)
    return x @ tower.text_projection.to(x.dtype)


def encode_tokens(
    model: nn.Module, tokens: Int[Tensor, "text token"]
) -> tuple[Float[Tensor, "text dim"], Float[Tensor, "text used dim"]]:
    """End-token features and features at every position, not normed, up to the longest text."""
    ends = lengths(tokens)
    cut = tokens[:, : int(ends.max())]
    features = encode_embeddings(model, token_embedding(model)(cut))
    return features[torch.arange(len(features)), ends - 1], features
