"""How a ViT's windows may be read off one larger pass, tried against crops.

    python -m bench.vit_windows --steps 1500    (8 minutes on 2 cores, 25 with 6,000; needs `dvc repro world`)

A small ViT of open_clip (patches of 16 pixels, 64 x 64) learns the miniature world's close-ups by
classes; then windows of validation scenes are scored five ways. Patches of a pass over the whole,
enlarged image have interpolated positions; `resolution` is a window's side in that image over 64.

- crops: each window encoded alone (what the pipeline does);
- maps (what ships, clipworks.windows.readers): a class token of its own for every window, and patches
  see so many windows' widths around them, and the image's class token;
- class token, last block: the whole image's class token asks the window's patches in the last block
  alone (the image's own answer stays in its residual);
- values, last block: mean of the window's patches through the last block's value path, without
  residual (MaskCLIP, arXiv:2112.01071);
- class token of its own: every window has a class token that asks its patches in every block, while
  patches ask each other as ever (close to TagCLIP's and to attention masking);
- the same, local: patches ask only patches that a window around them would hold, and no class token.

Prints validation mAP and milliseconds an image. Chooses nothing.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from clipworks.clip import backbone
from clipworks.clip import visual as visual_room
from clipworks.clip.visual import normalise
from clipworks.fusion import weighing
from clipworks.kit import images, metrics, tables
from clipworks.kit.classes import read_classes
from clipworks.kit.params import Base, load
from clipworks.miniature import pretrain
from clipworks.miniature.params import Backbone
from clipworks.windows import crops, maps
from clipworks.windows.boxes import Box, boxes
from clipworks.windows.params import Maps
from clipworks.windows.tower import Cut, Options, Tower
from clipworks.worlds import coco

SIDE, PATCH, SCENES = 64, 16, 200
GRID = SIDE // PATCH
CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": SIDE, "patch_size": PATCH, "layers": 4, "width": 128, "head_width": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 32, "heads": 2, "layers": 1},
}  # fmt: skip
MEANS = backbone.OPENAI_MEAN, backbone.OPENAI_STD
Windows = list[Box]


def train(names: list[str], steps: int) -> tuple[Any, nn.Linear]:
    """A ViT whose class token tells the classes of close-ups, and its classifier."""
    visual: Any = backbone.new(CONFIG, seed=0).visual
    head = nn.Linear(128, len(names))
    both, kept = nn.ModuleList([visual, head]), Path(f"scratch/vit_windows-{steps}.safetensors")
    if kept.exists():
        both.load_state_dict(load_file(kept))
        return visual.eval().requires_grad_(False), head.requires_grad_(False)
    params, base = load("backbone", Backbone), load("base", Base)
    pictures, shown = pretrain.pairs(
        params.scene, names, count=params.images, seed=base.seed, workers=2
    )
    targets = torch.zeros(len(shown), len(names))
    for row, present in enumerate(shown):
        targets[row, [names.index(name) for name in present]] = 1 / len(present)
    weights = [*visual.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    bar = tqdm(range(steps), desc="train a ViT", mininterval=1)
    for _ in bar:
        rows = torch.randint(len(pictures), (128,), generator=generator)
        loss = F.cross_entropy(
            logits_of(head, visual(normalise(pictures[rows], *MEANS))), targets[rows]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=round(loss.item(), 2), refresh=False)
    save_file(both.state_dict(), kept)
    return visual.eval().requires_grad_(False), head.requires_grad_(False)


def logits_of(head: nn.Linear, features: Tensor) -> Tensor:
    """Of features of any length: the pipeline's are L2-normed."""
    found: Tensor = head(10 * F.normalize(features, dim=-1))
    return found


def by_crops(visual: Any, pixels: Tensor, found: Windows) -> Tensor:
    """Every window alone: features of shape (window, dim)."""
    cut = crops.cut(pixels, found, size=SIDE, resize_mode="shortest")
    features: Tensor = visual(normalise(cut, *MEANS))
    return features


def inside(found: Windows, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Which patches' centres lie in the centre square of each window, bool (window, patch)."""
    y, x = ((torch.arange(n) + 0.5) * s / n for n, s in zip(grid, (size[1], size[0]), strict=True))
    masks = []
    for box in found:
        side = min(box.right - box.left, box.bottom - box.top)
        left = box.left + (box.right - box.left - side) / 2
        top = box.top + (box.bottom - box.top - side) / 2
        down, across = (y >= top) & (y < top + side), (x >= left) & (x < left + side)
        masks.append((down[:, None] & across).flatten())
    return torch.stack(masks)


def attend(block: Any, x: Tensor, allowed: Tensor | None) -> Tensor:
    """One block, with a bool mask of who may ask whom."""
    mask = None
    if allowed is not None:
        mask = torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))
    done: Tensor = block(x, attn_mask=mask)
    return done


def off_maps(clip: Any, resolution: float, widths: float) -> Callable[..., Tensor]:
    """What ships, where patches see `widths` of a window to every side (0.5 ships)."""
    how = Maps(resolution=resolution, density=1.0, tolerance=0.0)
    options = Options([2, 3], False, 1, 256, "fp32", torch.float32, 10**8, "maps", how)
    tower = Tower(clip, options, torch.device("cpu"))
    reader: Any = tower._reader
    reader.window = round(2 * widths * reader.window)

    def features(_visual: Any, pixels: Tensor, found: Windows) -> Tensor:
        parts = maps.parts(pixels, found, how, reader, size=SIDE, largest=tower.at_once)
        return tower.encode([Cut("", list(found), parts=parts)])[0]

    return features


def own_tokens(visual: Any, pixels: Tensor, mask: Tensor, *, reach: float | None) -> Tensor:
    """A class token for every window; patches see all, or those within `reach` cells."""
    patches = visual.conv1(pixels)
    grid = patches.shape[2:]
    places = visual_room.positions(visual, tuple(grid))
    patches = patches.flatten(2).transpose(1, 2) + places[1:]
    token = visual.class_embedding + places[0]
    x = visual.ln_pre(torch.cat([token.expand(1, len(mask), -1), patches], dim=1))
    count, total = len(mask), len(mask) + patches.shape[1]
    allowed = torch.zeros(total, total, dtype=torch.bool)
    allowed[:count, :count] = torch.eye(count, dtype=torch.bool)
    allowed[:count, count:] = mask
    allowed[count:, count:] = True
    if reach is not None:
        y, z = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
        place = torch.stack([y.flatten(), z.flatten()], dim=1).float()
        allowed[count:, count:] = (place[:, None] - place).abs().amax(dim=-1) <= reach
    for block in visual.transformer.resblocks:
        x = attend(block, x, allowed)
    done: Tensor = visual.ln_post(x[0, :count]) @ visual.proj
    return done


def last_block(visual: Any, pixels: Tensor, mask: Tensor) -> Tensor:
    """The image's class token asks each window's patches in the last block alone."""
    x = visual_room.vit_tokens(visual, pixels)
    many = torch.cat([x[:, :1].expand(1, len(mask), -1), x[:, 1:]], dim=1)
    allowed = torch.zeros(many.shape[1], many.shape[1], dtype=torch.bool)
    allowed.fill_diagonal_(True)
    allowed[: len(mask), len(mask) :] = mask
    done = attend(visual.transformer.resblocks[-1], many, allowed)[0, : len(mask)]
    found: Tensor = visual.ln_post(done) @ visual.proj
    return found


def values(visual: Any, pixels: Tensor, mask: Tensor) -> Tensor:
    """Mean of the patches' values of the last block, without residual (MaskCLIP)."""
    x = visual_room.vit_tokens(visual, pixels)[0, 1:]
    last = visual.transformer.resblocks[-1]
    weight, bias = (w.chunk(3)[2] for w in (last.attn.in_proj_weight, last.attn.in_proj_bias))
    share = mask.float() / mask.sum(dim=1, keepdim=True)
    value = last.attn.out_proj(share @ F.linear(last.ln_1(x), weight, bias))
    done: Tensor = visual.ln_post(value) @ visual.proj
    return done


def off_one_pass(read: Callable[..., Tensor], resolution: float) -> Callable[..., Tensor]:
    """Windows of each size off one pass over the image enlarged for that size."""

    def features(visual: Any, pixels: Tensor, found: Windows) -> Tensor:
        height, width = pixels.shape[1:]
        sides = [min(b.right - b.left, b.bottom - b.top) for b in found]
        out = torch.zeros(len(found), 128)
        for side in sorted(set(sides)):
            members = [i for i, s in enumerate(sides) if s == side]
            scale = SIDE * resolution / side
            rows, columns = (max(1, round(n * scale / PATCH)) for n in (height, width))
            resized = crops.resize(pixels, rows * PATCH, columns * PATCH)[None]
            mask = inside([found[i] for i in members], (width, height), (rows, columns))
            out[members] = read(visual, normalise(resized, *MEANS), mask)
        return out

    return features


def ways(clip: Any) -> dict[str, Callable[..., Tensor]]:
    """Every way from windows to features."""
    found: dict[str, Callable[..., Tensor]] = {"crops": by_crops}
    for resolution in (1.0, 1.5):
        reach = GRID * resolution / 2
        reads: dict[str, Callable[..., Tensor]] = {
            "values, last block": values,
            "class token, last block": last_block,
            "class token of its own": lambda v, x, m: own_tokens(v, x, m, reach=None),
            "the same, local": lambda v, x, m, reach=reach: own_tokens(v, x, m, reach=reach),
        }
        for widths in (0.5, 1.0, 100.0):
            found[f"maps, {resolution:g}, {widths:g}"] = off_maps(clip, resolution, widths)
        found |= {f"{n}, {resolution:g}": off_one_pass(r, resolution) for n, r in reads.items()}
    return found


@torch.inference_mode()
def main() -> None:
    """Train, score validation scenes all ways, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--steps", type=int, default=1500, help="of training, with 128 pictures each"
    )
    steps = parser.parse_args().steps
    names = read_classes(Path(load("base", Base).classes))
    with torch.inference_mode(False):
        visual, head = train(names, steps)
    model = torch.nn.Module()
    model.visual = visual
    clip = backbone.frozen(model, CONFIG, {}, name="the ViT")
    tried = ways(clip)
    listed = tables.read_json(Path("data/world/validation.json"))
    chosen = listed["images"][:SCENES]
    truth = coco.labels_of(Path("data/world/annotations/validation.json"), names, chosen)
    assert truth is not None, "the miniature world is labelled"
    scores: dict[str, list[Tensor]] = {name: [] for name in [*tried, "whole image"]}
    spent = dict.fromkeys(tried, 0.0)
    for name in tqdm(chosen, desc="score scenes", mininterval=1):
        pixels = crops.pixels(images.read(Path(listed["folder"]) / name))
        height, width = pixels.shape[1:]
        found = [Box(0, 0, width, height), *boxes(width, height, [2, 3])]
        for way, read in tried.items():
            start = time.perf_counter()
            logits = logits_of(head, read(visual, pixels, found))
            spent[way] += time.perf_counter() - start
            fused = weighing.standardise(logits)
            scores[way].append(fused[0] + 1.5 * fused[1:].amax(dim=0))
            if way == "crops":
                scores["whole image"].append(fused[0])
    frame = pd.DataFrame(
        {
            "validation mAP": {n: metrics.mean_ap(metrics.average_precision(truth, torch.stack(s).numpy())) for n, s in scores.items()},
            "ms an image": {n: round(1000 * s / len(chosen)) for n, s in spent.items()},
        }
    )  # fmt: skip
    print(frame.to_markdown())


if __name__ == "__main__":
    main()
