"""Scenes: settings explored from cached cosines, and the visual stage against the bare tower.

`explore_ratio`: 20 settings of weights and thresholds from the cache, against encoding the pictures
anew for each (a tenth of the settings are timed that way and scaled up). `of_bare_tower`: pictures a
second from files through decoding, squashing and sharpening, over those of the tower alone on
pictures that lie in memory. A ViT-B/32 of random weights at 224 pixels; 64 painted JPEGs.
"""

import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.timing import seconds
from clipworks.clip import backbone
from clipworks.clip.backbone import Backbone
from clipworks.kit import images
from clipworks.scenes import cache, encoding
from clipworks.scenes.cache import Cache
from clipworks.scenes.classify import PLAIN
from clipworks.scenes.prompts import PromptSet, build
from clipworks.scenes.recipes import Recipe, apply

import clipworks.kit.torchvision_ops  # noqa: F401  # isort: skip
from clipworks.clip.hand import imagenet_templates  # isort: skip
import open_clip  # isort: skip

PICTURES, BATCH, REPEATS = 64, 32, 3
CPU = torch.device("cpu")


def tower(name: str, seed: int) -> Backbone:
    """A published architecture with random weights."""
    torch.manual_seed(seed)
    model = open_clip.create_model(name, pretrained=None)
    config = open_clip.get_model_config(name)
    return backbone.frozen(model, config, {}, name=name)


def photographs(folder: Path) -> list[Path]:
    """Squashed, blurred JPEGs, as small as the contest's."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(PICTURES):
        pixels = rng.integers(0, 255, (15, 15, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((150, 150), Image.Resampling.BICUBIC)
        paths.append(folder / f"{i}.jpg")
        image.save(paths[-1], quality=90)
    return paths


def encode(clip: Backbone, paths: list[Path]) -> np.ndarray:
    """What the stage does with the pictures of one model at one sharpening."""
    found = encoding.image_features(
        clip, paths, [2.0], batch_size=BATCH, read=images.as_stored, device=CPU
    )
    return torch.cat([features for _, features in found], dim=1).numpy()


def bare(clip: Backbone) -> None:
    """The tower alone on as many pictures in memory."""
    batch = torch.randn(BATCH, 3, clip.image_size, clip.image_size)
    with torch.inference_mode():
        for _ in range(PICTURES // BATCH):
            clip.model.encode_image(batch)  # type: ignore[operator]


def settings(prompts: PromptSet) -> list[Recipe]:
    """20 settings of weights and thresholds."""
    groups = tuple(dict.fromkeys(prompts.groups))[:-1]
    first = Recipe(groups, "shared_softmax", 100.0, {"a": 2.0, "b": 2.0}, {"a": 0.5, "b": 0.5}, 0.0)
    return [
        replace(first, weights={"a": share / 10, "b": 1 - share / 10}, drop=drop)
        for share in range(1, 11)
        for drop in (0.0, 0.002)
    ]


def main() -> None:
    """Print both figures; the last line is JSON."""
    classes = ["building", "forest", "glacier", "mountain", "sea", "street"]
    prompts = build(PLAIN, classes, imagenet_templates("{}"), name="plain")
    clips = {"a": tower("ViT-B-32", 0), "b": tower("ViT-B-32", 1)}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        paths = photographs(place)
        options = {"batch_size": 256, "device": CPU}
        texts = {n: encoding.text_features(c, prompts.texts, **options).numpy() for n, c in clips.items()}  # type: ignore[arg-type]  # fmt: skip

        def make() -> Cache:
            for name, clip in clips.items():
                cache.write(place / name, "test", [2.0], encode(clip, paths), texts[name])
            return Cache(place, "test")

        wanted = settings(prompts)
        make()
        explored = seconds(lambda: [apply(one, Cache(place, "test"), prompts) for one in wanted])
        again = seconds(lambda: [apply(one, make(), prompts) for one in wanted[::10]]) * 10
        times = [(seconds(lambda: bare(clips["a"])), seconds(lambda: encode(clips["a"], paths))) for _ in range(REPEATS)]  # fmt: skip
        towers, stage = (statistics.median(t[i] for t in times) for i in range(2))
    print(
        f"{len(wanted)} settings: {explored:.2f} s from the cache, {again:.0f} s anew; {PICTURES} pictures"
    )
    print(
        f"{PICTURES / stage:.1f} pictures a second from files, {PICTURES / towers:.1f} by the tower alone"
    )
    print(
        json.dumps(
            {"explore_ratio": round(again / explored, 1), "of_bare_tower": round(towers / stage, 3)}
        )
    )


if __name__ == "__main__":
    main()
