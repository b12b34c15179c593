"""What a step of prompt tuning minimises, and how fast."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from clipworks.clip import scoring
from clipworks.clip.features import Packed
from clipworks.tuning.losses import LOSSES, LabelStatistics, distillation
from clipworks.tuning.params import Schedule, TrainModel
from clipworks.tuning.prompts import Prompts


def learning_rate(schedule: Schedule, epoch: int) -> float:
    """Learning rate of an epoch (from 0): warm-up, then the decay from its beginning.

    The decay is as long as the schedule and begins after the warm-up, as in Dassl, which the
    solution trains with.
    """
    if schedule.warmup != "none" and epoch < schedule.warmup_epochs:
        if schedule.warmup == "constant":
            return schedule.warmup_lr
        share = (epoch + 1) / (schedule.warmup_epochs + 1)
        return schedule.warmup_lr + share * (schedule.lr - schedule.warmup_lr)
    late = schedule.warmup_epochs if schedule.warmup != "none" else 0
    done = (epoch - late) / schedule.epochs
    factors = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return schedule.lr * factors[schedule.decay]


class Objective:
    """The loss of one batch, for a student and perhaps its teacher."""

    def __init__(
        self,
        model: nn.Module,
        settings: TrainModel,
        statistics: LabelStatistics,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """`autocast` is for the text tower alone: logits and losses are computed in float32."""
        self._model = model
        self._autocast = autocast
        self._settings = settings
        self._statistics = statistics
        self._loss = LOSSES[settings.loss]

    def logits(self, prompts: Prompts, batch: Packed) -> tuple[Tensor, Tensor]:
        """Global and local logits, each of shape (caption, class)."""
        with self._autocast():
            classes = prompts(self._model)
        both = scoring.global_logits(batch.pooled, classes["global"], prompts.global_scale)
        local = scoring.packed_local_logits(
            batch.parts,
            batch.item,
            batch.items,
            classes["local"],
            classes.get("evidence"),
            scale=prompts.global_scale,
            spatial_scale=prompts.spatial_scale,
        )
        return both, local

    def __call__(
        self, prompts: Prompts, teacher: Prompts | None, batch: Packed, labels: Tensor
    ) -> Tensor:
        """Ranking (or another loss) of global and local logits, plus the teacher's two KL terms."""
        both, local = self.logits(prompts, batch)
        loss = self._loss(both, labels, self._statistics) + self._loss(
            local, labels, self._statistics
        )
        if teacher is not None:
            with torch.no_grad():
                teacher_both, teacher_local = self.logits(teacher, batch)
            loss = loss + self._settings.ema_global_weight * distillation(teacher_both, both)
            loss = loss + self._settings.ema_local_weight * distillation(teacher_local, local)
        return loss


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """m ← momentum · m + (1 - momentum) · θ."""
    for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
        old.mul_(momentum).add_(new, alpha=1 - momentum)
