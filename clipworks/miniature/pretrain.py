"""Pretraining of the miniature CLIP: what stands in for OpenAI's weights where none can be had.

Two phases, since contrastive training from scratch hardly takes off in minutes on two cores:

1. the trunk of the image tower learns which classes' words a picture's text holds (soft
   cross-entropy over the nouns), so it has seen class names with supervision;
2. with the trunk frozen and its last maps kept, the attention pool and the text tower are trained
   contrastively on pairs of maps and alternative texts (CLIP's symmetric InfoNCE,
   arXiv:2103.00020).

Everything after pretraining (captions, prompts, windows) sees class names and text alone.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from clipworks.clip import backbone
from clipworks.clip.text import encode_tokens
from clipworks.clip.visual import normalise, trunk
from clipworks.kit.processes import spread
from clipworks.miniature import alttext
from clipworks.miniature.params import Backbone as BackboneParams
from clipworks.miniature.params import Scene
from clipworks.miniature.scene import paint

# One picture in so many has a long text, and one step in so many takes such pictures only: texts of
# a step are of similar length, so little is spent on padding.
LONG_EVERY = 8
MEAN, STD = backbone.OPENAI_MEAN, backbone.OPENAI_STD


def pairs(
    style: Scene, classes: Sequence[str], *, count: int, seed: int, workers: int
) -> tuple[Tensor, list[list[str]]]:
    """Paint close-up pictures and list what is in each.

    Returns:
        images, uint8 of shape (count, 3, side, side), and each picture's classes.
    """
    work = partial(_pair, style, tuple(classes), seed)
    rows = spread(work, range(count), what="paint", workers=workers)
    images = torch.from_numpy(np.stack([row[0] for row in rows]))
    return images.permute(0, 3, 1, 2).contiguous(), [row[1] for row in rows]


def _pair(
    style: Scene, classes: tuple[str, ...], seed: int, index: int
) -> tuple[np.ndarray, list[str]]:
    image, placed = paint(style, classes, seed=seed, stream="pretrain", index=index)
    return np.asarray(image), sorted({p.name for p in placed if p.name})


def train(
    model: nn.Module,
    images: Tensor,
    names: list[list[str]],
    classes: Sequence[str],
    *,
    tokenize: backbone.Tokenize,
    seed: int,
    trunk_steps: int,
    pair_steps: int,
    log: Path,
    texts: list[str] | None = None,
) -> None:
    """Train a CLIP with a ModifiedResNet tower in place; losses go to a TSV at `log`.

    Args:
        names: what each image shows, of `classes`: what the trunk learns.
        texts: of each image; None for alternative texts that name its classes.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        file.write("step\tphase\tloss\n")
        write = lambda *row: file.write("\t".join(str(v) for v in row) + "\n")  # noqa: E731
        targets = torch.zeros(len(names), len(classes))
        for row, present in enumerate(names):
            targets[row, [classes.index(name) for name in present]] = 1.0 / len(present)
        _train_trunk(model.visual, images, targets, steps=trunk_steps, seed=seed, write=write)
        texts = texts or [
            alttext.write(row, np.random.default_rng([seed, 7, i]), long=i % LONG_EVERY == 0)
            for i, row in enumerate(names)
        ]
        tokens = tokenize(texts)
        _train_pairs(model, images, tokens, steps=pair_steps, seed=seed, write=write)
    model.eval()


def _train_trunk(visual, images, targets, *, steps: int, seed: int, write) -> None:  # type: ignore[no-untyped-def]
    # Residual blocks start switched on: open_clip zeroes this weight, which suits long schedules.
    for name, weight in visual.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.ones_(weight)
    visual.train()
    width = visual.attnpool.v_proj.in_features
    head = nn.Linear(width, targets.shape[1])
    weights = [
        *(p for n, p in visual.named_parameters() if "attnpool" not in n),
        *head.parameters(),
    ]
    optimizer = torch.optim.AdamW(weights, lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=steps, pct_start=_rise(steps)
    )
    generator = torch.Generator().manual_seed(seed)
    for step in tqdm(range(steps), desc="pretrain trunk", mininterval=1):
        rows = torch.randint(len(images), (128,), generator=generator)
        maps = trunk(visual, normalise(images[rows], MEAN, STD))
        loss = F.cross_entropy(head(maps.mean((2, 3))), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        write(step, "trunk", round(loss.item(), 5))
    visual.eval()


def _train_pairs(model, images, tokens, *, steps: int, seed: int, write) -> None:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        maps = torch.cat(
            [trunk(model.visual, normalise(part, MEAN, STD)) for part in images.split(500)]
        )
    pool = model.visual.attnpool
    frozen = {id(p) for n, p in model.visual.named_parameters() if "attnpool" not in n}
    weights = [p for p in model.parameters() if id(p) not in frozen]
    nn.init.constant_(model.logit_scale, float(np.log(30)))
    optimizer = torch.optim.AdamW(weights, lr=1.5e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.5e-3, total_steps=steps, pct_start=_rise(steps)
    )
    generator = torch.Generator().manual_seed(seed + 1)
    for step in tqdm(range(steps), desc="pretrain pairs", mininterval=1):
        rows = torch.randint(len(maps) // LONG_EVERY, (256,), generator=generator) * LONG_EVERY
        if step % LONG_EVERY:
            rows += torch.randint(1, LONG_EVERY, (256,), generator=generator)
        image = F.normalize(pool(maps[rows]), dim=-1)
        text = F.normalize(encode_tokens(model, tokens[rows])[0], dim=-1)
        logits = model.logit_scale.exp() * image @ text.T
        same = torch.arange(len(rows))
        loss = (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, float(np.log(100)))
        write(step, "pairs", round(loss.item(), 5))


def _rise(steps: int) -> float:
    """The share of steps in which the learning rate rises; torch divides by the last of them."""
    return 0.1 if steps != 10 else 0.11


def config(params: BackboneParams) -> dict[str, Any]:
    """open_clip's model config of the miniature CLIP: a ModifiedResNet of one block per layer."""
    return {
        "embed_dim": params.embed_dim,
        "quick_gelu": False,
        "vision_cfg": {
            "image_size": params.scene.side,
            "layers": [1, 1, 1, 1],
            "width": params.width,
        },
        "text_cfg": {
            "context_length": params.context_length,
            "vocab_size": 49408,
            "width": params.text_width,
            "heads": params.text_heads,
            "layers": params.text_layers,
        },
    }


def preprocess(params: BackboneParams) -> dict[str, Any]:
    """open_clip's preprocessing config."""
    return {
        "size": params.scene.side,
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
