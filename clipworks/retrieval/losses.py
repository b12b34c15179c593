"""Contrastive losses over pairs of pictures and captions.

`hard` is CLIP's symmetric InfoNCE (arXiv:2103.00020), open_clip's own: of a batch every other caption
is wrong. Captions of cars repeat (every eighth batch of 25 holds one twice), but sharing the target
among the same captions (`caption`) changes neither loss nor gradient: their text features are equal,
so are their logits, and a mean of equal rows is each of them (tests/test_retrieval_rules.py). What can
be shared is what different captions say alike: `attribute` does so for persons of the same flags.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

import clipworks.kit.torchvision_ops  # noqa: F401  (before open_clip)
from clipworks.kit.shapes import Float, Int
from clipworks.retrieval.params import Targets

from open_clip.loss import ClipLoss  # isort: skip


def soft_targets(alike: Int[Tensor, " pair"]) -> Float[Tensor, "pair pair"]:
    """1/n for each of the n pairs that are alike.

    Args:
        alike: a number for each pair, equal where two share their targets.
    """
    same = (alike[:, None] == alike[None, :]).double()
    return same / same.sum(dim=1, keepdim=True)


class SoftClipLoss(ClipLoss):
    """InfoNCE with soft targets; equal to ClipLoss where no two pairs are alike.

    It keeps open_clip's way of gathering features from all processes.
    """

    def forward(  # type: ignore[override]
        self, image_features: Tensor, text_features: Tensor, logit_scale: Tensor, alike: Tensor
    ) -> Tensor:
        """The loss of unit features of shape (pair, dim); `alike` is that of all processes."""
        by_image, by_text = self.get_logits(image_features, text_features, logit_scale)
        targets = soft_targets(alike).to(by_image.dtype)
        return (F.cross_entropy(by_image, targets) + F.cross_entropy(by_text, targets)) / 2


def loss(targets: Targets, *, rank: int = 0, processes: int = 1) -> ClipLoss:
    """The loss of a batch that is spread over processes, as if it were in one."""
    options = {"gather_with_grad": True, "rank": rank, "world_size": processes}
    return (ClipLoss if targets == "hard" else SoftClipLoss)(**options)


def clamp(log_scale: Tensor) -> None:
    """Keep the logit scale between 1 and 100, in place, as CLIP does after each step."""
    with torch.no_grad():
        log_scale.clamp_(0, torch.tensor(100.0, dtype=torch.float64).log().item())
