"""Prompt tuning on captions as if they were images.

Everything of CLIP is frozen and captions are encoded already, so a step costs the class prompts'
own forward and backward pass and little else.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from tqdm import tqdm

from clipworks.kit import tensors
from clipworks.kit.checkpoint import load_state, save_state
from clipworks.kit.errors import InputError
from clipworks.tuning import heldout
from clipworks.tuning.losses import LabelStatistics
from clipworks.tuning.objective import Objective, learning_rate, update_teacher
from clipworks.tuning.params import TrainModel
from clipworks.tuning.prompts import Prompts
from clipworks.tuning.result import Progress, Result
from clipworks.tuning.selection import Data


def share_of_batch(order: np.ndarray, batch: int, size: int, rank: int, world: int) -> np.ndarray:
    """The rows of a global batch that one of several processes takes."""
    return order[batch * size : (batch + 1) * size][rank::world]


class Tuning:
    """Prompts on their way; a killed run goes on from the last finished epoch in `scratch`.

    With a fixed global batch the losses do not depend on the number of processes: gradients are
    averaged by hand over the few context vectors, weighted by each process's share of the batch.
    """

    def __init__(
        self,
        make: Callable[[], Prompts],
        model: nn.Module,
        data: Data,
        settings: TrainModel,
        *,
        seed: int,
        accelerator: Accelerator,
        scratch: Path,
        label: str,
    ) -> None:
        """`make` gives the prompts to begin from, for the student and for its teacher.

        Raises:
            InputError: a class has no training caption, or the best epoch or patience is asked for and no
                class has a held-out one.
        """
        _check_classes(data)
        if settings.checkpoint == "best" or settings.patience:
            _check_judges(data)
        self._model, self._data, self._settings, self._seed = model, data, settings, seed
        self._accelerator, self._scratch, self._label = accelerator, scratch, label
        device = accelerator.device
        model.to(device)
        if device.type == "cuda":  # a quarter of what is free: nothing is copied twice
            data.features.hold(device, torch.cuda.mem_get_info(device)[0] // 4)
        self._student = make().to(device)
        self._teacher = make().to(device) if settings.ema else None
        self._learned = [p for p in self._student.parameters() if p.requires_grad]
        self._optimizer: Any = accelerator.prepare(self._new_optimizer())
        self._best = self._copy(self._student)
        statistics = _to(data.table.statistics(data.train), device)
        self._objective = Objective(model, settings, statistics, accelerator.autocast)
        self._batches = max(1, math.ceil(len(data.train) / settings.batch_size))
        self._progress = self._resumed()

    def run(self) -> Result:
        """Tune to the end of the schedule, or until patience is spent.

        Raises:
            InputError: the loss, or what was learned, is no longer a finite number.
        """
        progress, settings = self._progress, self._settings
        with self._bar() as bar:
            for epoch in range(progress.epoch, settings.schedule.stop):
                if settings.patience and epoch - progress.best_epoch > settings.patience:
                    break
                rate = self._set_rate(epoch)
                loss = self._epoch(epoch, bar)
                held_out = self._judge(epoch)
                bar.set_postfix(loss=f"{loss:.3f}", held_out_mAP=f"{100 * held_out:.1f}")
                row = {"epoch": epoch, "lr": rate, "loss": loss, "held_out_mAP": held_out}
                progress.history.append(row)
                progress.epoch = epoch + 1
                self._keep()
        self._student.load_state_dict(self._best)
        ap = evaluate(self._student, self._model, self._data, self._calmer)
        steps = progress.epoch * self._batches
        return Result(self._student, progress, ap, self._data.class_mask, steps)

    @property
    def _shown(self) -> Prompts:
        """Whose prompts are judged and kept."""
        wants_teacher = self._settings.save == "teacher" and self._teacher is not None
        return self._teacher if wants_teacher else self._student  # type: ignore[return-value]

    def _epoch(self, epoch: int, bar: Any) -> float:
        """One pass over the captions in an order of its own; returns their mean loss."""
        order = np.random.default_rng([self._seed, epoch]).permutation(self._data.train)
        size, processes = self._settings.batch_size, self._accelerator.num_processes
        total = 0.0
        for number in range(self._batches):
            rows = share_of_batch(order, number, size, self._accelerator.process_index, processes)
            whole = min(size, len(order) - number * size)
            total += self._step(rows, weight=len(rows) * processes / whole) * whole
            bar.update()
        return total / len(self._data.train)

    def _step(self, rows: np.ndarray, *, weight: float) -> float:
        """One optimisation step; returns the loss of the whole global batch."""
        if self._teacher is not None:
            update_teacher(self._teacher, self._student, self._settings.ema_momentum)
        self._optimizer.zero_grad()
        loss = self._loss(rows) * weight
        self._accelerator.backward(loss)
        value = self._average(loss.detach())
        tensors.check_finite("the loss", [value], self._calmer)
        self._optimizer.step()
        return float(value)

    @property
    def _calmer(self) -> str:
        now = self._settings
        return f"lower schedule.lr ({now.schedule.lr:g}) or weight_decay ({now.weight_decay:g}), or use precision fp32 (now {now.precision})"

    def _loss(self, rows: np.ndarray) -> Tensor:
        device, data = self._accelerator.device, self._data
        if not len(rows):  # the last batch may be smaller than the number of processes
            return sum((p.sum() * 0.0 for p in self._learned), torch.zeros((), device=device))
        batch = data.features.batch(data.table.text[rows], device)
        labels = torch.from_numpy(data.labels(rows)).to(device).long()
        return self._objective(self._student, self._teacher, batch, labels)

    def _average(self, value: Tensor) -> Tensor:
        """The loss, and in place the gradients, of all processes together."""
        if self._accelerator.num_processes == 1:
            return value
        for parameter in self._learned:
            parameter.grad = self._accelerator.reduce(parameter.grad, reduction="mean")
        return self._accelerator.reduce(value, reduction="mean")

    def _of_all(self, value: float) -> float:
        """The first process's: sums on a GPU have no fixed order, and all must stop at one epoch."""
        if self._accelerator.num_processes == 1:
            return value
        return float(
            broadcast(torch.tensor(value, dtype=torch.float64).to(self._accelerator.device))
        )

    def _judge(self, epoch: int) -> float:
        """Held-out mAP after an epoch; the prompts are taken where they are the best so far."""
        ap = evaluate(self._shown, self._model, self._data, self._calmer)
        held_out = self._of_all(heldout.mean_ap(np.where(self._data.class_mask, ap, np.nan)))
        progress = self._progress
        better = held_out > progress.best_map
        if better:
            progress.best_map, progress.best_epoch = held_out, epoch
        if better or self._settings.checkpoint == "last":
            progress.taken_epoch = epoch
            self._best = self._copy(self._shown)
        return held_out

    def _set_rate(self, epoch: int) -> float:
        rate = learning_rate(self._settings.schedule, epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _new_optimizer(self) -> torch.optim.Optimizer:
        settings = self._settings
        options: Any = {
            "lr": learning_rate(settings.schedule, 0),
            "weight_decay": settings.weight_decay,
        }
        if settings.optimizer == "sgd":
            return torch.optim.SGD(self._learned, momentum=settings.momentum, **options)
        return torch.optim.AdamW(self._learned, **options)

    def _resumed(self) -> Progress:
        """Where the last run was killed, or the beginning."""
        state = load_state(self._scratch, self._modules, self._best, self._optimizer)
        if not state:
            return Progress()
        if scaler := state.pop("scaler"):
            self._accelerator.scaler.load_state_dict(scaler)
        return Progress(**state)

    def _keep(self) -> None:
        if self._accelerator.is_main_process:
            scaler = self._accelerator.scaler  # None but for fp16
            state = {"scaler": scaler.state_dict() if scaler else None, **vars(self._progress)}
            save_state(self._scratch, self._modules, self._best, self._optimizer, state)

    @property
    def _modules(self) -> dict[str, nn.Module | None]:
        return {"student": self._student, "teacher": self._teacher}

    @staticmethod
    def _copy(prompts: Prompts) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in prompts.state_dict().items()}

    def _bar(self) -> Any:
        return tqdm(
            total=self._settings.schedule.stop * self._batches,
            initial=self._progress.epoch * self._batches,
            desc=self._label,
            unit="step",
            mininterval=1,
            disable=not self._accelerator.is_main_process,
        )


@torch.no_grad()
def evaluate(prompts: Prompts, model: nn.Module, data: Data, advice: str) -> np.ndarray:
    """Held-out AP of each class; raises InputError, with advice, where logits are no finite numbers."""
    values = heldout.logits(
        prompts(model),
        data.features,
        data.table.text[data.held_out],
        scale=prompts.global_scale,
        spatial_scale=prompts.spatial_scale,
    )
    # The prompts too: there may be no caption to judge by.
    learned = [torch.from_numpy(values), *prompts.parameters()]
    tensors.check_finite("what was learned", learned, advice)
    return heldout.class_ap(values, data.table, data.held_out)


def _check_classes(data: Data) -> None:
    counts = data.table.count_labels(data.train)
    names = np.array(data.table.class_names)
    if len(missing := names[(counts == 0) & data.class_mask]):
        raise InputError(
            f"no training caption names {missing.tolist()}: add a source to `sources` or generate more"
        )


def _check_judges(data: Data) -> None:
    """Without figures of any class no epoch would be better than the prompts before training."""
    if not data.table.count_labels(data.held_out)[data.class_mask].any():
        names = np.array(data.table.class_names)[data.class_mask].tolist()
        raise InputError(
            f"no held-out caption names {names[:8]}, so no epoch can be told to be the best; raise "
            "encode_captions.held_out, generate more captions, or set checkpoint: last and patience: 0"
        )


def _to(statistics: LabelStatistics, device: torch.device) -> LabelStatistics:
    return LabelStatistics(
        # Classes that are not trained on may have no caption; they are masked, not divided by 0.
        statistics.count.clamp(min=1).to(device),
        statistics.total,
        statistics.together.to(device),
    )
