"""Fine-tuning a CLIP on pictures and their captions: a low learning rate, stopped early.

The schedule is long and is cut early, as the authors do: at the end of training the learning rate has
hardly begun to fall. Batch norms keep the statistics of pretraining: a street's are not the world's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from clipworks.clip.backbone import Backbone
from clipworks.clip.encoding import THREADS
from clipworks.clip.visual import normalise
from clipworks.kit import images, tensors
from clipworks.kit.ahead import ahead
from clipworks.kit.checkpoint import load_state, save_state
from clipworks.kit.errors import InputError
from clipworks.kit.tensors import save_file
from clipworks.retrieval import losses, schedule, squares
from clipworks.retrieval.params import Finetune

RATIO = (3 / 4, 4 / 3)  # of the sides of what is seen


@dataclass
class Progress:
    """How far it is, and what each epoch was worth."""

    epoch: int = 0
    best_epoch: int = -1
    best_map: float = -1.0
    history: list[dict[str, Any]] = field(default_factory=list)


def seen(path: Path, size: int, settings: Finetune, rng: np.random.Generator) -> np.ndarray:
    """A training picture: squared like all others, then a random part of it at the tower's size.

    As torchvision's RandomResizedCrop, with numbers of its own for each picture, so that neither
    threads nor a restart change them.
    """
    image = images.as_stored(path)
    image = squares.pad(image) if settings.square else image
    for _ in range(10):
        area = image.width * image.height * rng.uniform(*settings.crop)
        ratio = float(np.exp(rng.uniform(*np.log(RATIO))))
        width, height = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < width <= image.width and 0 < height <= image.height:
            left, top = (int(rng.integers(v + 1)) for v in (image.width - width, image.height - height))  # fmt: skip
            box = (left, top, left + width, top + height)
            return np.asarray(image.resize((size, size), squares.BICUBIC, box))
    return squares.fit(image, size, "shortest")


class Finetuning:
    """A CLIP on its way; a killed run goes on from the last finished epoch in `scratch`.

    The loss is that of the whole batch, however many processes share it.
    """

    def __init__(
        self,
        clip: Backbone,
        pairs: Sequence[tuple[Path, str]],
        settings: Finetune,
        *,
        alike: Sequence[str],
        seed: int,
        accelerator: Accelerator,
        judge: Callable[[Backbone], float],
        scratch: Path,
        label: str,
    ) -> None:
        """`alike` names what a pair shares its target by, where targets are soft.

        Raises InputError for fewer pairs than a batch, or a batch that processes cannot share."""
        self._clip, self._pairs, self._settings, self._seed = clip, pairs, settings, seed
        self._accelerator, self._judge, self._scratch = accelerator, judge, scratch
        self._label = label
        processes = accelerator.num_processes
        step = settings.batch_size * settings.accumulation
        if len(pairs) < step:
            raise InputError(
                f"{len(pairs)} pairs are fewer than a step takes ({settings.batch_size} x "
                f"{settings.accumulation}); lower batch_size or accumulation"
            )
        if settings.batch_size % processes:
            raise InputError(f"batch_size {settings.batch_size} is no multiple of {processes} processes")  # fmt: skip
        titles = [title for _, title in pairs]
        numbers = {title: i for i, title in enumerate(dict.fromkeys(titles))}
        self._captions = torch.tensor([numbers[title] for title in titles])
        kinds = {key: i for i, key in enumerate(dict.fromkeys(alike))}
        self._alike = torch.tensor([kinds[key] for key in alike])
        self._tokens = clip.tokenize(list(numbers))
        if accelerator.is_main_process and (long := clip.too_long(list(numbers))):
            words = list(numbers)[long[0]]
            print(f"warning: {label}: {len(long)} of {len(numbers)} captions are longer than this CLIP reads, and lose their end, such as {words!r}")  # fmt: skip
        self._steps = len(pairs) // step  # an epoch
        model = clip.model.requires_grad_(True).to(accelerator.device)
        self._prepare(model)
        optimizer = torch.optim.AdamW(
            schedule.groups(model.named_parameters(), settings.weight_decay),
            lr=settings.lr, betas=(0.9, 0.98), eps=1e-6, fused=True,
        )  # fmt: skip
        kept = load_state(scratch, {"model": model}, {}, optimizer)
        if scaler := kept.pop("scaler", None):
            accelerator.scaler.load_state_dict(scaler)
        self._progress = Progress(**kept)
        self._model, self._optimizer = accelerator.prepare(model, optimizer)
        self._loss = losses.loss(
            settings.targets, rank=accelerator.process_index, processes=processes
        )

    def _prepare(self, model: Any) -> None:
        settings = self._settings
        if settings.lock_image:
            model.lock_image_tower()
        if settings.lock_text:
            model.lock_text_tower()
        if settings.checkpointing:
            model.set_grad_checkpointing()

    def run(self) -> Progress:
        """Train to the end; checkpoints of all epochs lie in the scratch folder then.

        Raises:
            InputError: the loss, or what was learned, is no longer a finite number.
        """
        progress, settings = self._progress, self._settings
        with self._bar() as bar:
            for epoch in range(progress.epoch, settings.stop):
                loss = self._epoch(epoch, bar)
                self._model.eval()
                value = self._judge(self._clip)
                if value > progress.best_map or settings.checkpoint == "last":
                    progress.best_map, progress.best_epoch = value, epoch
                bar.set_postfix(loss=f"{loss:.3f}", validation=f"{100 * value:.1f}")
                rate = self._optimizer.param_groups[0]["lr"]
                progress.history.append(
                    {"epoch": epoch + 1, "lr": rate, "loss": loss, "validation_mAP@10": value}
                )
                progress.epoch = epoch + 1
                self._keep(epoch)
        return progress

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self._accelerator.is_main_process

    def checkpoint(self, epoch: int) -> Path:
        """The weights after an epoch (from 0)."""
        return self._scratch / f"epoch_{epoch + 1:02d}.safetensors"

    def _epoch(self, epoch: int, bar: Any) -> float:
        """One pass over the pairs in an order of its own; returns the mean loss."""
        settings, accelerator = self._settings, self._accelerator
        # Some towers drop paths at random: each epoch alike, whether the run was killed before or not.
        entropy = np.random.SeedSequence([self._seed, epoch, accelerator.process_index])
        torch.manual_seed(int(entropy.generate_state(1)[0]))
        self._model.train()
        for part in self._model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
        calmer = f"lower lr ({settings.lr:g}), or use precision fp32 (now {settings.precision})"
        total = 0.0
        for number, (pixels, rows) in enumerate(self._batches(epoch)):
            step, within = divmod(number, settings.accumulation)
            if within == 0:
                self._set_rate(epoch * self._steps + step)
                self._optimizer.zero_grad()
            value = self._value(pixels, rows)
            accelerator.backward(value / settings.accumulation)
            tensors.check_finite("the loss", [value], calmer)
            total += float(value.detach())
            if within == settings.accumulation - 1:
                self._optimizer.step()
                losses.clamp(self._clip.model.logit_scale)  # type: ignore[arg-type]
                bar.update()
        tensors.check_finite("what was learned", self._model.parameters(), calmer)
        return total / (self._steps * settings.accumulation)

    def _value(self, pixels: np.ndarray, rows: np.ndarray) -> Tensor:
        """The loss of a whole batch, of which this process saw its share."""
        accelerator, processes = self._accelerator, self._accelerator.num_processes
        own = torch.from_numpy(rows[accelerator.process_index :: processes])
        # Channels stay last in memory, with which convolutions are twice as fast on CPUs.
        images = torch.from_numpy(pixels).to(accelerator.device).permute(0, 3, 1, 2)
        images = normalise(images, self._clip.mean, self._clip.std)
        tokens = self._tokens[self._captions[own]].to(accelerator.device)
        image, text, scale, *_ = self._model(images, tokens)
        if self._settings.targets == "hard":
            return self._loss(image, text, scale)
        everyone = torch.cat([torch.from_numpy(rows[i::processes]) for i in range(processes)])
        alike = self._alike[everyone].to(accelerator.device)
        return self._loss(image, text, scale, alike)

    def _batches(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """This process's pictures of each batch, and the rows of the whole batch."""
        size, accelerator = self._settings.batch_size, self._accelerator
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._pairs))
        batches = order[: self._steps * self._settings.accumulation * size].reshape(-1, size)
        own = batches[:, accelerator.process_index :: accelerator.num_processes]

        def one(row: int) -> np.ndarray:
            rng = np.random.default_rng([self._seed, epoch, row])
            return seen(self._pairs[row][0], self._clip.image_size, self._settings, rng)

        pictures = ahead(one, own.flatten().tolist(), threads=THREADS)
        for rows in batches:
            yield np.stack(list(islice(pictures, own.shape[1]))), rows

    def _set_rate(self, step: int) -> None:
        settings = self._settings
        rate = schedule.learning_rate(
            step, peak=settings.lr, warmup=settings.warmup, total=settings.epochs * self._steps
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _keep(self, epoch: int) -> None:
        if not self._accelerator.is_main_process:
            return
        self._scratch.mkdir(parents=True, exist_ok=True)
        state = {k: v.detach().cpu().contiguous() for k, v in self._clip.model.state_dict().items()}
        draft = self._scratch / "epoch.tmp"
        save_file(state, str(draft))
        draft.replace(self.checkpoint(epoch))
        modules: dict[str, nn.Module | None] = {"model": self._clip.model}
        scaler = self._accelerator.scaler  # None but for fp16
        kept = {"scaler": scaler.state_dict() if scaler else None, **vars(self._progress)}
        save_state(self._scratch, modules, {}, self._optimizer, kept)
        # Only now: a state must never speak of an epoch whose weights are gone.
        best = self.checkpoint(self._progress.best_epoch)
        for other in (
            () if self._settings.keep_epochs else self._scratch.glob("epoch_*.safetensors")
        ):
            if other != best:
                other.unlink()

    def _bar(self) -> Any:
        return tqdm(
            total=self._settings.stop * self._steps,
            initial=self._progress.epoch * self._steps,
            desc=self._label,
            unit="step",
            mininterval=1,
            disable=not self._accelerator.is_main_process,
        )
