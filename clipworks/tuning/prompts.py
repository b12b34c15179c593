"""Learned prompts: context vectors at the token embedding, and how they become class features.

A prompt is [start][contexts][class name]["."][end]; the class name may also stand in the middle of
the contexts or in front (CoOp, arXiv:2109.01134). There are two or three kinds: global, local and,
with evidence, evidence (DualCoOp++, arXiv:2308.01890).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipworks.clip import text
from clipworks.clip.backbone import Backbone
from clipworks.clip.scoring import GLOBAL_SCALE, SPATIAL_SCALE
from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float
from clipworks.kit.tensors import opened, save_file

KINDS = ("global", "local", "evidence")
NamePosition = Literal["end", "middle", "front"]


class Prompts(nn.Module):
    """Context vectors of each kind, and the two scales; nothing else is learned.

    Contexts have shape (context, width), or (class, context, width) when they are class-specific.
    """

    def __init__(
        self,
        backbone: Backbone,
        class_names: Sequence[str],
        *,
        contexts: int,
        evidence: bool,
        name_position: NamePosition = "end",
        class_specific: bool = False,
        learn_scales: bool = False,
        init_words: str = "",
        seed: int = 0,
    ) -> None:
        """Start from N(0, 0.02), or from the embedding of `init_words`.

        Raises:
            InputError: the prompt does not fit the tower, or `init_words` has another length.
        """
        super().__init__()
        text.check_causal(backbone.model, backbone.name)
        self.class_names = tuple(class_names)
        self.name_position: NamePosition = name_position
        embedding = text.token_embedding(backbone.model)
        width = embedding.weight.shape[1]
        shape = (contexts, width)
        if class_specific:
            shape = (len(class_names), *shape)  # type: ignore[assignment]
        generator = torch.Generator().manual_seed(seed)
        kinds = KINDS if evidence else KINDS[:2]
        start = _word_embeddings(backbone, init_words, contexts) if init_words else None
        self.contexts = nn.ParameterDict()
        for kind in kinds:
            noise = torch.randn(shape, generator=generator) * 0.02
            self.contexts[kind] = nn.Parameter(
                noise if start is None else start.expand(shape).clone()
            )
        self.global_scale = nn.Parameter(torch.tensor(GLOBAL_SCALE), requires_grad=learn_scales)
        self.spatial_scale = nn.Parameter(torch.tensor(SPATIAL_SCALE), requires_grad=learn_scales)
        pieces = _name_pieces(backbone, class_names, contexts)
        for key, value in pieces.items():
            self.register_buffer(key, value, persistent=False)

    @property
    def width(self) -> int:
        """Size of a context vector: the width of the text tower that it fits."""
        return self.contexts["global"].shape[-1]

    @property
    def n(self) -> int:
        """How many context vectors a prompt has."""
        return self.contexts["global"].shape[-2]

    def embeddings(self, kind: str) -> Float[Tensor, "class token width"]:
        """Embedded prompts, padded only up to the longest class name."""
        context = self.contexts[kind]
        if context.ndim == 2:
            context = context.expand(len(self.class_names), -1, -1)
        start: Tensor = self.start.expand(len(self.class_names), -1, -1)  # type: ignore[operator]
        name: Tensor = self.name  # type: ignore[assignment]
        if self.name_position == "end":
            return torch.cat([start, context, name], dim=1)
        # Elsewhere the pieces behind the name move with its length, so rows are built one by one.
        split = self.n // 2 if self.name_position == "middle" else 0
        rows = []
        for row, length in enumerate(self.name_length.tolist()):  # type: ignore[operator]
            words, rest = name[row, :length], name[row, length:]
            parts = (start[row], context[row, :split], words, context[row, split:], rest)
            rows.append(torch.cat(parts))
        return torch.stack(rows)

    def forward(self, model: nn.Module) -> dict[str, Float[Tensor, "class dim"]]:
        """Class features of each kind, L2-normed: one pass of the text tower for all kinds."""
        kinds = list(self.contexts)
        stacked = torch.cat([self.embeddings(kind) for kind in kinds])
        features = text.encode_embeddings(model, stacked)
        ends = self.end.repeat(len(kinds))  # type: ignore[operator]
        pooled = F.normalize(features[torch.arange(len(features)), ends].float(), dim=-1)
        return dict(zip(kinds, pooled.chunk(len(kinds)), strict=True))

    def save(self, path: Path, **facts: object) -> None:
        """Write the contexts and scales as safetensors; class names and facts as metadata."""
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()
        }
        about = {
            "class_names": json.dumps(self.class_names),
            "name_position": self.name_position,
            **{key: json.dumps(value) for key, value in facts.items()},
        }
        save_file(tensors, str(path), metadata={"clipworks": json.dumps(about, sort_keys=True)})


def load(path: Path, backbone: Backbone, class_names: Sequence[str] | None = None) -> Prompts:
    """Read what `Prompts.save` wrote, and refuse what does not fit.

    Raises:
        InputError: another class list than `class_names`, or another width than the backbone's.
    """
    if not path.exists():
        raise InputError(f"prompts {path} do not exist; train them first (`dvc repro train`)")
    with opened(path) as file:
        if "clipworks" not in (file.metadata() or {}):
            raise InputError(f"{path} holds no prompts; train them again (`dvc repro train`)")
        about = json.loads(file.metadata()["clipworks"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    names = json.loads(about["class_names"])
    if class_names is not None and list(class_names) != names:
        here = [name for name in class_names if name not in names]
        there = [name for name in names if name not in class_names]
        raise InputError(
            f"prompts {path} were tuned for another class list: only there {there[:5]}, only here "
            f"{here[:5]} (or another order); tune them again for this list"
        )
    context = tensors["contexts.global"]
    width = text.token_embedding(backbone.model).weight.shape[1]
    if context.shape[-1] != width:
        raise InputError(
            f"prompts {path} have width {context.shape[-1]}, the text tower of {backbone.name} has "
            f"{width}; they belong to another backbone"
        )
    prompts = Prompts(
        backbone,
        names,
        contexts=context.shape[-2],
        evidence="contexts.evidence" in tensors,
        name_position=about["name_position"],
        class_specific=context.ndim == 3,
    )
    prompts.load_state_dict(tensors, strict=True)
    return prompts


def _name_pieces(backbone: Backbone, names: Sequence[str], contexts: int) -> dict[str, Tensor]:
    """Token embeddings that surround the contexts, and where each prompt ends."""
    tokens = backbone.tokenize([f"{name}." for name in names])  # start, name, ".", end, padding
    ends = text.lengths(tokens) - 1
    longest = int(ends.max())
    fit = backbone.tokenizer.context_length or 77
    if longest + 1 + contexts > fit:
        name = names[int(ends.argmax())]
        raise InputError(
            f"a prompt of {contexts} contexts and the class {name!r} takes {longest + 1 + contexts} "
            f"tokens, the text tower of {backbone.name} has {fit}; use at most "
            f"{fit - longest - 1} contexts"
        )
    embedded = _embed(backbone, tokens[:, : longest + 1])
    return {
        "start": embedded[:1, :1].clone(),
        "name": embedded[:, 1:].clone(),
        "name_length": ends - 2,  # without start, "." and end
        "end": ends + contexts,
    }


def _word_embeddings(backbone: Backbone, words: str, contexts: int) -> Tensor:
    tokens = backbone.tokenize([words])
    count = int(text.lengths(tokens)[0]) - 2
    if count != contexts:
        raise InputError(
            f"init_words {words!r} has {count} tokens, but contexts is {contexts}; make them equal"
        )
    return _embed(backbone, tokens[0, 1 : 1 + count])


@torch.no_grad()
def _embed(backbone: Backbone, tokens: Tensor) -> Tensor:
    """Token embeddings on the CPU, wherever the tower has gone by now."""
    embedding = text.token_embedding(backbone.model)
    found: Tensor = embedding(tokens.to(embedding.weight.device)).cpu()
    return found.clone()
