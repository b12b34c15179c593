"""Learning rate and weight decay as open_clip's trainer has them."""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn


def learning_rate(step: int, *, peak: float, warmup: int, total: int) -> float:
    """Linear warm-up over `warmup` steps, then a cosine to 0 at step `total`; steps count from 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * share)) * peak


def without_decay(name: str, parameter: nn.Parameter) -> bool:
    """Biases, norms and the logit scale are not drawn towards 0."""
    return parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))


def groups(named: Iterable[tuple[str, nn.Parameter]], decay: float) -> list[dict[str, Any]]:
    """Parameter groups of an optimizer: first those without weight decay."""
    learned = [(name, p) for name, p in named if p.requires_grad]
    return [
        {"params": [p for n, p in learned if without_decay(n, p)], "weight_decay": 0.0},
        {"params": [p for n, p in learned if not without_decay(n, p)], "weight_decay": decay},
    ]
