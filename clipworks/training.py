"""Prompt tuning on captions as if they were images.

Everything of CLIP is frozen and captions are encoded already, so a step costs the class prompts'
own forward and backward pass and little else.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from clipworks import heldout
from clipworks.checkpoint import load_state, save_state
from clipworks.losses import LabelStatistics
from clipworks.objective import Objective, learning_rate, update_teacher
from clipworks.params.train import Precision, TrainModel
from clipworks.prompts import Prompts
from clipworks.result import Progress, Result
from clipworks.selection import Data


def accelerator(device: torch.device, precision: Precision) -> Accelerator:
    """The accelerator of this process; on GPUs it keeps the loss scaler that fp16 needs.

    Raises:
        ValueError: fp16 on a CPU.
    """
    cpu = device.type == "cpu"
    if cpu and precision == "fp16":
        raise ValueError("precision fp16 needs a GPU; on a CPU fp32 and bf16 are allowed")
    return Accelerator(cpu=cpu, mixed_precision={"fp32": "no"}.get(precision, precision))


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
    if device.type == "cuda":  # a quarter of what is free: nothing is copied twice
        data.features.hold(device, torch.cuda.mem_get_info(device)[0] // 4)
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
    progress, scaler = Progress(), accelerator.scaler  # None but for fp16
    if state := load_state(scratch, modules, best, optimizer):
        if kept := state.pop("scaler"):
            scaler.load_state_dict(kept)
        progress = Progress(**state)
    statistics = _to(data.table.statistics(data.train), device)
    objective = Objective(model, settings, statistics, accelerator.autocast)
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
            better = held_out > progress.best_map
            if better:
                progress.best_map, progress.best_epoch = held_out, epoch
            if better or settings.checkpoint == "last":
                progress.taken_epoch = epoch
                best = {name: value.detach().clone() for name, value in shown.state_dict().items()}
            if accelerator.is_main_process:
                state = {"scaler": scaler.state_dict() if scaler else None, **vars(progress)}
                save_state(scratch, modules, best, optimizer, state)
    prompts.load_state_dict(best)
    ap = evaluate(prompts, model, data)
    return Result(prompts, progress, ap, data.class_mask, progress.epoch * batches)


def _step(
    rows: np.ndarray,
    weight: float,
    data: Data,
    prompts: Prompts,
    teacher: Prompts | None,
    objective: Objective,
    optimizer: Any,
    learned: Sequence[Tensor],
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
