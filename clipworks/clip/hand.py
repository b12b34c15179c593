"""Hand-written prompts as class features: the baselines that tuning must beat."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

import clipworks.kit.torchvision_ops  # noqa: F401  (before open_clip)
from clipworks.clip import text
from clipworks.clip.backbone import Backbone

from open_clip import OPENAI_IMAGENET_TEMPLATES  # isort: skip


HAND_TEMPLATE = "a photo of a {}."


def imagenet_templates(name: str) -> list[str]:
    """The 80 templates of CLIP's ImageNet evaluation, filled in."""
    return [template(name) for template in OPENAI_IMAGENET_TEMPLATES]


@torch.inference_mode()
def one_template(backbone: Backbone, class_names: Sequence[str]) -> dict[str, Tensor]:
    """ "a photo of a X." as global and local class features, each of shape (class, dim)."""
    texts = [HAND_TEMPLATE.format(name) for name in class_names]
    features = _encode(backbone, backbone.tokenize(texts))
    return {"global": features, "local": features}


@torch.inference_mode()
def eighty_templates(
    backbone: Backbone, class_names: Sequence[str], device: torch.device | None = None
) -> dict[str, Tensor]:
    """The mean of CLIP's 80 ImageNet templates, normed before and after (as CLIP does it)."""
    tokens = [  # of all classes first, so that nobody learns in the middle what does not fit
        backbone.check_fit(imagenet_templates(name), what="the class prompt").int()
        for name in class_names
    ]
    bar = tqdm(tokens, desc="encode classes", delay=3, mininterval=1, leave=False)
    with _on(device, backbone) as home:
        means = [_encode(backbone, each).mean(dim=0) for each in bar]
        features = F.normalize(torch.stack(means), dim=-1).to(home)
    return {"global": features, "local": features}


@torch.inference_mode()
def compound(
    backbone: Backbone,
    class_names: Sequence[str],
    groups: Sequence[tuple[str, ...]],
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """The mean of "a photo of a A and a B." over the combinations with the class.

    SPARC's idea (CVPR 2025): a class in the company that it keeps. The class alone counts as one. A
    combination that is longer than the CLIP reads is left out.
    """
    index = {name: i for i, name in enumerate(class_names)}
    everyone = [*((name,) for name in class_names), *groups]
    texts = [
        "a photo of " + " and ".join(f"a {name}" for name in names) + "." for names in everyone
    ]
    with _on(device, backbone) as home:
        features = _encode(backbone, backbone.tokenize(texts)).to(home)
    total = torch.zeros(len(class_names), features.shape[1], device=features.device)
    long = set(backbone.too_long(texts))
    for row, names in enumerate(everyone):
        if row in long:
            continue
        total[[index[name] for name in names]] += features[row]
    mean = F.normalize(total, dim=-1)
    return {"global": mean, "local": mean}


@contextmanager
def _on(device: torch.device | None, backbone: Backbone) -> Iterator[torch.device]:
    """Have a CLIP on a device for a while; yields where it was."""
    home = next(backbone.model.parameters()).device
    backbone.model.to(device or home)
    try:
        yield home
    finally:
        backbone.model.to(home)


def _encode(backbone: Backbone, tokens: Tensor) -> Tensor:
    device = next(backbone.model.parameters()).device
    parts = [text.encode_tokens(backbone.model, part.to(device))[0] for part in tokens.split(256)]
    return F.normalize(torch.cat(parts).float(), dim=-1)
