"""Prompt tuning on captions as if they were images.

Everything of CLIP is frozen and captions are encoded already, so a step costs the class prompts'
own forward and backward pass and little else.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from clipworks import heldout, scoring, text
from clipworks.backbone import Backbone
from clipworks.captions import CaptionTable
from clipworks.checkpoint import load_state, save_state
from clipworks.features import CaptionFeatures, Packed
from clipworks.losses import LOSSES, LabelStatistics, distillation
from clipworks.params.train import Schedule, TrainModel
from clipworks.prompts import Prompts
from clipworks.prompts import load as load_prompts


@dataclass(frozen=True)
class Data:
    """What a model is tuned on."""

    features: CaptionFeatures
    table: CaptionTable
    train: np.ndarray  # rows of the table
    held_out: np.ndarray
    class_mask: np.ndarray  # bool of shape (class,): labels are cut down to these

    def labels(self, selected: np.ndarray) -> np.ndarray:
        """Labels of some rows, cut down to the hard list."""
        return self.table.labels(selected) * self.class_mask.astype(np.int8)


@dataclass
class Progress:
    """Where training stands; everything that a resumed run needs beside tensors."""

    epoch: int = 0  # epochs that are done
    best_epoch: int = 0
    best_map: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """Tuned contexts and how they got there."""

    prompts: Prompts
    progress: Progress
    class_ap: np.ndarray  # held-out AP of each class, nan where no held-out caption names it
    steps: int


def learning_rate(schedule: Schedule, epoch: int) -> float:
    """Learning rate of an epoch (from 0): warm-up, then decay over the whole schedule."""
    if schedule.warmup != "none" and epoch < schedule.warmup_epochs:
        if schedule.warmup == "constant":
            return schedule.warmup_lr
        share = (epoch + 1) / (schedule.warmup_epochs + 1)
        return schedule.warmup_lr + share * (schedule.lr - schedule.warmup_lr)
    done = epoch / schedule.epochs
    factors = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return schedule.lr * factors[schedule.decay]


class Objective:
    """The loss of one batch, for a student and perhaps its teacher."""

    def __init__(self, model: nn.Module, settings: TrainModel, statistics: LabelStatistics) -> None:
        self._model = model
        self._settings = settings
        self._statistics = statistics
        self._loss = LOSSES[settings.loss]

    def logits(self, prompts: Prompts, batch: Packed) -> tuple[Tensor, Tensor]:
        """Global and local logits, each of shape (caption, class)."""
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


def share_of_batch(order: np.ndarray, batch: int, size: int, rank: int, world: int) -> np.ndarray:
    """The rows of a global batch that one of several processes takes."""
    return order[batch * size : (batch + 1) * size][rank::world]


def fit(
    prompts: Prompts,
    model: nn.Module,
    data: Data,
    settings: TrainModel,
    *,
    seed: int,
    accelerator: Accelerator,
    scratch: Path,
    make_teacher: Callable[[], Prompts],
    label: str,
) -> Result:
    """Tune prompts; a killed run goes on from the last finished epoch in `scratch`.

    With a fixed global batch the losses do not depend on the number of processes: gradients are
    averaged by hand over the few context vectors, weighted by each process's share of the batch.

    Raises:
        ValueError: the loss is no longer a number, or a class has no training caption.
    """
    _check_classes(data)
    device = accelerator.device
    model.to(device)
    prompts.to(device)
    teacher = make_teacher().to(device) if settings.ema else None
    learned = [p for p in prompts.parameters() if p.requires_grad]
    lr = learning_rate(settings.schedule, 0)
    optimizer: Any = (
        torch.optim.SGD(learned, lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
        if settings.optimizer == "sgd"
        else torch.optim.AdamW(learned, lr, weight_decay=settings.weight_decay)
    )
    optimizer = accelerator.prepare(optimizer)
    best = {name: value.detach().clone() for name, value in prompts.state_dict().items()}
    modules = {"student": prompts, "teacher": teacher}
    progress = Progress(**load_state(scratch, modules, best, optimizer))
    objective = Objective(model, settings, _to(data.table.statistics(data.train), device))
    batches = max(1, math.ceil(len(data.train) / settings.batch_size))
    stop = settings.schedule.stop
    bar = tqdm(
        total=stop * batches,
        initial=progress.epoch * batches,
        desc=label,
        unit="step",
        mininterval=1,
        disable=not accelerator.is_main_process,
    )
    with bar:
        for epoch in range(progress.epoch, stop):
            if settings.patience and epoch - progress.best_epoch > settings.patience:
                break
            rate = learning_rate(settings.schedule, epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            order = np.random.default_rng([seed, epoch]).permutation(data.train)
            total = 0.0
            for number in range(batches):
                rows = share_of_batch(
                    order,
                    number,
                    settings.batch_size,
                    accelerator.process_index,
                    accelerator.num_processes,
                )
                size = min(settings.batch_size, len(order) - number * settings.batch_size)
                weight = len(rows) * accelerator.num_processes / size
                total += (
                    _step(
                        rows,
                        weight,
                        data,
                        prompts,
                        teacher,
                        objective,
                        optimizer,
                        learned,
                        accelerator,
                        settings,
                    )
                    * size
                )
                bar.update()
            loss = total / len(data.train)
            shown = teacher if settings.save == "teacher" and teacher is not None else prompts
            ap = evaluate(shown, model, data)
            held_out = float(np.nanmean(np.where(data.class_mask, ap, np.nan)))
            bar.set_postfix(loss=f"{loss:.3f}", held_out_mAP=f"{100 * held_out:.1f}")
            progress.history.append(
                {"epoch": epoch, "lr": rate, "loss": loss, "held_out_mAP": held_out}
            )
            progress.epoch = epoch + 1
            if held_out > progress.best_map or settings.checkpoint == "last":
                progress.best_map, progress.best_epoch = held_out, epoch
                best = {name: value.detach().clone() for name, value in shown.state_dict().items()}
            if accelerator.is_main_process:
                save_state(scratch, modules, best, optimizer, vars(progress))
    prompts.load_state_dict(best)
    return Result(prompts, progress, evaluate(prompts, model, data), progress.epoch * batches)


def _step(
    rows: np.ndarray,
    weight: float,
    data: Data,
    prompts: Prompts,
    teacher: Prompts | None,
    objective: Objective,
    optimizer: Any,
    learned: list[Tensor],
    accelerator: Accelerator,
    settings: TrainModel,
) -> float:
    """One optimisation step; returns the loss of the whole global batch."""
    if teacher is not None:
        update_teacher(teacher, prompts, settings.ema_momentum)
    optimizer.zero_grad()
    if len(rows):
        batch = data.features.batch(data.table.text[rows], accelerator.device)
        labels = torch.from_numpy(data.labels(rows)).to(accelerator.device).long()
        with accelerator.autocast():
            loss = objective(prompts, teacher, batch, labels) * weight
    else:  # the last batch may be smaller than the number of processes
        loss = sum((p.sum() * 0.0 for p in learned), torch.zeros((), device=accelerator.device))
    accelerator.backward(loss)
    value = loss.detach()
    if accelerator.num_processes > 1:
        value = accelerator.reduce(value, reduction="mean")
        for parameter in learned:
            parameter.grad = accelerator.reduce(parameter.grad, reduction="mean")
    if not torch.isfinite(value):
        raise ValueError(
            f"the loss became {value.item()}: lower schedule.lr ({settings.schedule.lr:g}), or use "
            f"precision: fp32 (now {settings.precision})"
        )
    optimizer.step()
    return float(value)


@torch.no_grad()
def evaluate(prompts: Prompts, model: nn.Module, data: Data) -> np.ndarray:
    """Held-out AP of each class."""
    values = heldout.logits(
        prompts(model),
        data.features,
        data.table.text[data.held_out],
        scale=prompts.global_scale,
        spatial_scale=prompts.spatial_scale,
    )
    return heldout.class_ap(values, data.table, data.held_out)


def _check_classes(data: Data) -> None:
    counts = data.table.count_labels(data.train)
    names = np.array(data.table.class_names)
    if len(missing := names[(counts == 0) & data.class_mask]):
        raise ValueError(
            f"no training caption names {missing.tolist()}: add a source to `sources` or generate more"
        )


def _to(statistics: LabelStatistics, device: torch.device) -> LabelStatistics:
    return LabelStatistics(
        statistics.count.to(device), statistics.total, statistics.together.to(device)
    )


def select(
    table: CaptionTable,
    features: CaptionFeatures,
    settings: TrainModel,
    groups: dict[str, list[str]],
) -> Data:
    """The rows that a model is tuned on, and those that judge it.

    With a hard list, labels are cut down to its classes and captions without any are dropped. The
    source "group" is the templates of the list's classes.

    Raises:
        ValueError: no such group, or nothing is left to train on.
    """
    names = table.class_names
    mask = np.ones(len(names), bool)
    if settings.hard_list != "none":
        if settings.hard_list not in groups:
            raise ValueError(
                f"hard_list {settings.hard_list!r}: allowed are 'none' and {list(groups)}"
            )
        mask = np.isin(np.array(names), groups[settings.hard_list])
    train = table.select([s for s in settings.sources if s != "group"], held_out=False)
    if "group" in settings.sources:
        templates = table.select(("templates",))
        train = np.union1d(train, templates)
    if not mask.all():
        train = np.concatenate(
            [
                part[(table.labels(part) * mask).any(axis=1)]
                for part in np.array_split(train, 1 + len(train) // 50_000)
            ]
        )
    if not len(train):
        raise ValueError(f"sources {settings.sources}: no caption is left to train on")
    judges = table.select(("multi", "single", "challenge"), held_out=True)
    return Data(features, table, train, judges, mask)


def begin(
    backbone: Backbone, class_names: Sequence[str], settings: TrainModel, start: Path, *, seed: int
) -> Prompts:
    """Fresh contexts, or those of the model that this one goes on from.

    Raises:
        ValueError: the start's prompts have another shape than the settings ask for.
    """
    fresh = Prompts(
        backbone,
        class_names,
        contexts=settings.contexts,
        evidence=settings.evidence,
        name_position=settings.name_position,
        class_specific=settings.class_specific,
        learn_scales=settings.learn_scales,
        init_words=settings.init_words,
        seed=seed,
    )
    if settings.start == "backbone":
        return fresh
    found = load_prompts(start, backbone, class_names)
    old = {kind: tuple(value.shape) for kind, value in found.contexts.items()}
    new = {kind: tuple(value.shape) for kind, value in fresh.contexts.items()}
    shared = old.keys() & new.keys()
    if any(old[kind] != new[kind] for kind in shared):
        raise ValueError(
            f"start {settings.start!r}: its contexts have shapes {old}, the settings ask for {new}; "
            "make contexts and class_specific equal"
        )
    fresh.load_state_dict(found.state_dict(), strict=False)
    return fresh


def joint_dim(model: nn.Module) -> int:
    """Size of CLIP's joint space."""
    device = next(model.parameters()).device
    tokens = torch.tensor([[49406, 49407]], device=device)
    with torch.no_grad():
        return int(text.encode_tokens(model, tokens)[0].shape[1])
