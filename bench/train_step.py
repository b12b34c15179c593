"""One training step: captions and prompts re-encoded at 77 positions, against ours.

RN50's text tower at random weights, 80 classes, 16 contexts, evidence on. The quick form takes
batch 256 and 3 of the tower's 12 layers (a step of the obvious way takes a minute with 12 on two
cores, and all layers cost the same); --full takes batch 1,024 and all 12.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.timing import alternate, options, report, seconds
from clipworks.clip import backbone, features, scoring, text
from clipworks.clip.backbone import Backbone
from clipworks.kit.classes import read_classes
from clipworks.kit.params import load
from clipworks.tuning.losses import LabelStatistics, distillation, ranking
from clipworks.tuning.objective import Objective
from clipworks.tuning.params import TrainModel
from clipworks.tuning.prompts import Prompts

CLASSES = read_classes(Path("data/classes/coco80.txt"))


def tower(layers: int) -> Backbone:
    """RN50's text tower (the visual tower is not used and kept small)."""
    config: dict[str, Any] = {
        "embed_dim": 1024,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 512,
            "heads": 8,
            "layers": layers,
        },
    }
    model = backbone.new(config, seed=0).eval().requires_grad_(False)
    return Backbone(
        model, backbone.tokenizer(77), 32, (0.0,) * 3, (1.0,) * 3, "shortest", "RN50 text"
    )


def padded(prompts: Prompts, model: torch.nn.Module) -> dict[str, Tensor]:
    """Class features the obvious way: every prompt at 77 positions, kind by kind."""
    found = {}
    for kind in prompts.contexts:
        embedded = prompts.embeddings(kind)
        embedded = F.pad(embedded, (0, 0, 0, 77 - embedded.shape[1]))
        encoded = text.encode_embeddings(model, embedded)
        ends = prompts.end
        found[kind] = F.normalize(encoded[torch.arange(len(encoded)), ends], dim=-1)  # type: ignore[index]
    return found


def obvious_loss(
    prompts: Prompts, teacher: Prompts | None, clip: Backbone, tokens: Tensor, labels: Tensor
) -> Tensor:
    """The authors' step: captions through the tower at 77 positions, then prompts."""
    with torch.no_grad():
        encoded = text.encode_embeddings(clip.model, text.token_embedding(clip.model)(tokens))
        parts = F.normalize(encoded, dim=-1)
    lengths = text.lengths(tokens)
    pooled = parts[torch.arange(len(parts)), lengths - 1]
    outside = torch.arange(77) >= lengths[:, None]

    def logits(which: Prompts) -> tuple[Tensor, Tensor]:
        classes = padded(which, clip.model)
        similarity = parts @ classes["local"].T
        where = 50 * (parts @ classes["evidence"].T)
        weight = where.masked_fill(outside[:, :, None], -torch.inf).softmax(dim=1)
        local = 4 * (scoring.winner_takes_all(similarity, 50.0) * weight).sum(dim=1)
        return 4 * pooled @ classes["global"].T, local

    both, local = logits(prompts)
    loss = ranking(both, labels) + ranking(local, labels)
    if teacher is not None:
        with torch.no_grad():
            teacher_both, teacher_local = logits(teacher)
        loss = loss + distillation(teacher_both, both) + 100 * distillation(teacher_local, local)
    return loss


def measure(
    clip: Backbone,
    stored: features.CaptionFeatures,
    tokens: Tensor,
    labels: Tensor,
    *,
    ema: bool,
    repeats: int,
) -> tuple[float, float, Prompts]:
    """Median seconds of a step both ways, with equal losses, and the prompts that were used."""
    prompts = Prompts(clip, CLASSES, contexts=16, evidence=True)
    teacher = Prompts(clip, CLASSES, contexts=16, evidence=True, seed=1) if ema else None
    everything = np.arange(len(tokens))
    statistics = LabelStatistics(torch.ones(80), len(tokens), torch.zeros(80, 80))
    goal = Objective(clip.model, load("train.base", TrainModel), statistics)
    values = {}

    def slow() -> None:
        prompts.zero_grad()
        values["slow"] = obvious_loss(prompts, teacher, clip, tokens, labels)
        values["slow"].backward()

    def fast() -> None:
        prompts.zero_grad()
        values["fast"] = goal(
            prompts, teacher, stored.batch(everything, torch.device("cpu")), labels
        )
        values["fast"].backward()

    slow_s, fast_s = alternate(slow, fast, repeats)
    torch.testing.assert_close(values["slow"], values["fast"], rtol=1e-5, atol=1e-5)
    kind = "with EMA" if ema else "without EMA"
    print(f"{kind}: {slow_s:.2f} s -> {fast_s:.2f} s, {slow_s / fast_s:.1f} times; losses equal")
    return slow_s, fast_s, prompts


def main() -> None:
    """Measure without EMA and with it, and what the prompts' own passes cost."""
    full = options(__doc__ or "").full
    batch, layers = (1024, 12) if full else (256, 3)
    clip = tower(layers)
    rng = np.random.default_rng(0)
    chosen = [rng.choice(80, int(rng.integers(1, 4)), replace=False) for _ in range(batch)]
    captions = [
        "There is " + " and ".join(f"a {CLASSES[i]}" for i in row) + " on a quiet street."
        for row in chosen
    ]
    labels = torch.zeros(batch, 80, dtype=torch.long)
    for row, present in enumerate(chosen):
        labels[row, present] = 1
    tokens = clip.tokenize(captions)
    with tempfile.TemporaryDirectory() as folder:
        features.encode(
            clip,
            captions,
            Path(folder),
            batch_size=256,
            dtype="float32",
            device=torch.device("cpu"),
        )
        stored = features.CaptionFeatures(Path(folder))
        ema_slow, ema_fast, _ = measure(clip, stored, tokens, labels, ema=True, repeats=1)
        slow_s, fast_s, prompts = measure(clip, stored, tokens, labels, ema=False, repeats=1)

    def bound() -> None:
        torch.stack([value.sum() for value in prompts(clip.model).values()]).sum().backward()

    bound()
    share = min(seconds(bound) for _ in range(3)) / fast_s
    print(f"the prompts' own forward and backward pass bound our step: {share:.0%} of it")
    report(
        "train_step", slow_s, fast_s, ratio_ema=round(ema_slow / ema_fast, 2), of_prompt_passes=round(share, 3),
        batch=batch, classes=80, contexts=16, layers=layers,
    )  # fmt: skip


if __name__ == "__main__":
    main()
