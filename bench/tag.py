"""`clipworks tag` against the bare tower, and its memory and restarts over many small images.

    python -m bench.tag [--full]            (a minute; --full five)
    python -m bench.tag --many 100000       (some minutes: peak memory, ten kills, same bytes)

The first: RN50 of random weights at 224, photographs of 640 x 480, windows off maps, from files to the
table and the page, against the trunk alone on the same pixels. Last line: JSON with `of_bare_tower`.
"""

import argparse
import io
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import clipworks.kit.torchvision_ops  # noqa: F401  (before open_clip)
from bench.inference import pictures
from bench.timing import seconds
from clipworks.clip import backbone, visual
from clipworks.tagging import work
from clipworks.tagging.tagger import Tagger
from clipworks.windows import maps

import open_clip  # isort: skip

CLASSES = ["dog", "cat", "car", "bus", "person", "cup", "book", "clock", "boat", "bird"]
SHARD = 1000  # images


def rn50() -> backbone.Backbone:
    """RN50 with random weights."""
    torch.manual_seed(0)
    config: dict[str, Any] = open_clip.get_model_config("RN50") or {}
    model = open_clip.create_model("RN50")
    return backbone.frozen(model, config, {"size": 224}, name="RN50")


def bare(tagger: Tagger, files: list[Path]) -> Callable[[], None]:
    """The trunk alone on the pixels that the tagger's tower will see, in batches of the same kind."""
    eye = tagger.eye("maps")
    tower = eye._pass.tower
    clip = tagger.clip
    waiting = [(0, part) for f in files for part in eye.cut(f.name, f).parts]
    batches = [
        visual.normalise(torch.stack([part.pixels for _, part in batch]), clip.mean, clip.std)
        for batch in maps.batches(waiting, tower.at_once)
    ]

    @torch.inference_mode()
    def run() -> None:
        for batch in batches:
            visual.trunk(clip.model.visual, batch)

    return run


def speed(count: int, repeats: int) -> dict[str, float]:
    """Seconds of both ways in turn."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        names = pictures(folder / "images", count)
        tagger = Tagger.of(rn50(), CLASSES, word="RN50")
        trunk = bare(tagger, [folder / "images" / name for name in names])
        trunk()
        tag = lambda: work.tag(tagger, [str(folder / "images")], folder / "t.parquet", "maps")  # noqa: E731
        times = [(seconds(trunk), seconds(tag)) for _ in range(repeats)]
    tower, whole = (statistics.median(column) for column in zip(*times, strict=True))
    return {"images": count, "tower_s": round(tower, 2), "tag_s": round(whole, 2),
            "images_per_s": round(count / whole, 2), "of_bare_tower": round(tower / whole, 3)}  # fmt: skip


def shards(folder: Path, count: int) -> None:
    """Tars of small pictures."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    some = []
    for _ in range(50):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(out, "JPEG")
        some.append(out.getvalue())
    for number in range(0, count, SHARD):
        with tarfile.open(folder / f"{number // SHARD:05d}.tar", "w") as archive:
            for i in range(number, min(number + SHARD, count)):
                info = tarfile.TarInfo(f"{i:08d}.jpg")
                info.size = len(some[i % 50])
                archive.addfile(info, io.BytesIO(some[i % 50]))


def tiny(folder: Path) -> None:
    """A CLIP small enough that everything but the tower counts."""
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    }
    backbone.save(folder, backbone.new(config, seed=0), config, {"size": 32})


def many(count: int, kills: int) -> dict[str, Any]:
    """Peak memory at a tenth of the images and at all; killed now and then, the same bytes."""
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        shards(here / "all", count)
        (here / "tenth").mkdir()
        for shard in sorted((here / "all").glob("*.tar"))[: max(1, count // SHARD // 10)]:
            (here / "tenth" / shard.name).hardlink_to(shard)
        tiny(here / "clip")
        (here / "classes.txt").write_text("\n".join(CLASSES))
        found: dict[str, Any] = {"images": count, "kills": 0}
        for name in ("tenth", "all"):
            start = time.perf_counter()
            process = begin(here, name, f"{name}.parquet")
            _, _, used = os.wait4(process.pid, 0)
            found[f"peak_MiB_{name}"] = round(used.ru_maxrss / 2**10)
            found[f"images_per_s_{name}"] = round(
                (count if name == "all" else count // 10) / (time.perf_counter() - start)
            )
        found["memory_ratio"] = round(found["peak_MiB_all"] / found["peak_MiB_tenth"], 3)
        rng = np.random.default_rng(0)
        took = count / found["images_per_s_all"]
        while found["kills"] < kills:
            process = begin(here, "all", "killed.parquet")
            time.sleep(float(rng.uniform(0.3, 1.0)) * (5 + took / kills))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            found["kills"] += 1
        begin(here, "all", "killed.parquet").wait()
        same = (here / "killed.parquet").read_bytes() == (here / "all.parquet").read_bytes()
        return {**found, "same_bytes": same}


def begin(here: Path, images: str, out: str) -> "subprocess.Popen[bytes]":
    """Tag in a process of its own."""
    command = [
        sys.executable, "-m", "clipworks.commands", "tag", images, "--classes", "classes.txt",
        "--backbone", "clip", "--out", out, "--fast", "--batch-size", "256", "--device", "cpu",
    ]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.Popen(command, cwd=here, env=environment, **quiet)  # type: ignore[call-overload]


def main() -> None:
    """Measure one or the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--kills", type=int, default=10)
    chosen = parser.parse_args()
    if chosen.many:
        print(json.dumps(many(chosen.many, chosen.kills)))
        return
    found = speed(*((24, 5) if chosen.full else (6, 2)))
    found["peak_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10
    print(json.dumps({"name": "tag", **found}))


if __name__ == "__main__":
    main()
