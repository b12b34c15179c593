"""What the retrieval solution saves: candidates encoded once, search in blocks, a million pictures.

    python -m bench.retrieval [--full]

completion_ratio: types and colours of 46,117 cars, as many as the contest's (quick: 4,000), by a small
text tower, against encoding each picture's candidates again with the model kept in memory, which is
timed on every eighth car and counted eight times; the same are chosen.
search_ratio: 1,500 x 6,000 x 1,280 (quick: 300 x 2,000), against products by broadcasting, sixteen
pictures at a time, and sorting everything; the same ten are found. Each way in a process of its own,
so that peak memory is its own. Then one query, and 64 at once, over 1,000,000 x 512 on disk (quick:
50,000), exact and, where FAISS is installed, by it.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.timing import alternate, options, report, seconds
from clipworks.clip import backbone, encoding
from clipworks.clip.backbone import Backbone
from clipworks.retrieval import completion, ranking
from clipworks.retrieval.inventory import Inventory
from clipworks.search import approximate
from clipworks.search.shelf import FORM, About, Entry, Shelf

CPU = torch.device("cpu")
KNOWN = Inventory(
    tuple(f"colour{chr(97 + i)}" for i in range(11)),
    ("Bus", "Microbus", "Minivan", "SUV", "Sedan", "Truck"),
    tuple(f"Brand{i:02d}" for i in range(65)),
)
CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 4},
}


def captions(count: int) -> list[str]:
    """Labels as the contest's: few brands are common, one in seven names the type alone."""
    rng = np.random.default_rng(0)
    share = 1.0 / np.arange(1, 66)
    found = []
    for _ in range(count):
        colour, kind = KNOWN.colours[rng.integers(11)], KNOWN.types[rng.integers(6)]
        brand = KNOWN.brands[rng.choice(65, p=share / share.sum())]
        found.append(f"A {kind}." if rng.random() < 1 / 7 else f"A {colour} {brand}.")
    return found


def complete_once(clip: Backbone, texts: list[str], images: Tensor) -> list[str]:
    """Our way."""
    gaps = completion.gaps(texts, KNOWN)
    place = completion.distinct(gaps)
    features = encoding.text_features(clip, list(place), batch_size=256, device=CPU)
    return [one.text for one in completion.choose(gaps, images, features, place)]


@torch.inference_mode()
def complete_again(clip: Backbone, texts: list[str], images: Tensor) -> list[str]:
    """The obvious way: each picture's candidates are encoded for it."""
    found = []
    model: Any = clip.model
    for text, image in zip(texts, images, strict=True):
        candidates = completion.gap(text, KNOWN).candidates
        features = F.normalize(model.encode_text(clip.tokenize(list(candidates))), dim=1)
        found.append(f"{candidates[int((features @ image).argmax())]}.")
    return found


def completion_ratio(count: int) -> dict[str, Any]:
    """Both ways in turn."""
    model = backbone.new(CONFIG, seed=0).eval().requires_grad_(False)
    clip = backbone.frozen(model, CONFIG, {}, name="bench")
    texts = captions(count)
    images = F.normalize(torch.randn(count, 128, generator=torch.Generator().manual_seed(0)), dim=1)
    found: dict[str, list[str]] = {}

    def slow() -> None:
        found["slow"] = complete_again(clip, texts[::8], images[::8])

    def fast() -> None:
        found["fast"] = complete_once(clip, texts, images)

    sample, whole = alternate(slow, fast, 1)
    return {"completion_ratio": round(8 * sample / whole, 1), "completion_slow_s": round(8 * sample, 1),
            "completion_fast_s": round(whole, 2), "completion_same": found["slow"] == found["fast"][::8],
            "cars": count}  # fmt: skip


def unit(count: int, dim: int, seed: int) -> Tensor:
    """Random unit features."""
    return F.normalize(
        torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def by_broadcasting(queries: Tensor, gallery: Tensor) -> Tensor:
    """The authors' way: products by broadcasting, a full sort."""
    parts = [(queries[:, None] * some[None]).sum(dim=2) for some in gallery.split(16)]
    return torch.cat(parts, dim=1).argsort(dim=1, descending=True, stable=True)[:, :10]


def one_search(way: str, queries: int, gallery: int) -> dict[str, Any]:
    """One way, in this process: seconds (median of three), what it found, its peak memory."""
    asked, pictures = unit(queries, 1280, 1), unit(gallery, 1280, 2)
    search = by_broadcasting if way == "slow" else lambda q, g: ranking.search(q, g, 10)[1]
    search(asked[:16], pictures[:64])
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far (Linux)
    before = _peak()
    took = statistics.median(seconds(lambda: search(asked, pictures)) for _ in range(3))
    peak = _peak()
    found = search(asked, pictures)
    return {"s": took, "MiB": round(peak - before), "found": int((found * torch.arange(1, 11)).sum()),
            "first": found[:, 0].tolist()}  # fmt: skip


def _peak() -> float:
    """MiB that this process has held at most."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def search_ratio(queries: int, gallery: int) -> dict[str, Any]:
    """Both ways, each in a process of its own."""
    found = {}
    for way in ("slow", "fast"):
        done = subprocess.run(
            [sys.executable, "-m", "bench.retrieval"], check=True, capture_output=True, text=True,
            env={**os.environ, "BENCH_PART": json.dumps([way, queries, gallery])},
        )  # fmt: skip
        found[way] = json.loads(done.stdout.splitlines()[-1])
    slow, fast = found["slow"], found["fast"]
    same = slow["found"] == fast["found"] and slow["first"] == fast["first"]
    return {"search_ratio": round(slow["s"] / fast["s"], 1), "search_slow_s": round(slow["s"], 2),
            "search_fast_s": round(fast["s"], 3), "search_same": same,
            "search_slow_peak_MiB": slow["MiB"], "search_fast_peak_MiB": fast["MiB"]}  # fmt: skip


def million(count: int) -> dict[str, Any]:
    """A large index on disk, mapped: seconds a query, and how much memory it adds."""
    with tempfile.TemporaryDirectory() as temporary:
        shelf = Shelf(Path(temporary), About("bench", [], "", form=FORM))
        part = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
            f"{temporary}/all.npy", mode="w+", dtype=np.float16, shape=(count, 512)
        )
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(1000, 512)).astype(np.float32)
        for start in range(0, count, 10_000):  # in groups, as photographs are
            some = centres[rng.integers(1000, size=10_000)] + rng.normal(size=(10_000, 512))
            some /= np.linalg.norm(some, axis=1, keepdims=True)
            part[start : start + 10_000] = some[: count - start]
        rows = [(Entry(f"{i:08d}", "files", "", 0, 0, 0), 0, i) for i in range(count)]
        made = shelf.replace(rows, [part], shelf.about)
        features = torch.from_numpy(np.asarray(made.features()))
        asked = F.normalize(features[:64].float() + 0.02 * torch.randn(64, 512), dim=1)
        ranking.search(asked[:1], features, 10)
        one = statistics.median(
            seconds(partial(ranking.search, asked[i : i + 1], features, 10)) for i in range(5)
        )
        many = seconds(lambda: ranking.search(asked, features, 10))
        found: dict[str, Any] = {
            "gallery": count, "exact_one_query_s": round(one, 4),
            "exact_queries_per_s": round(64 / many, 1),
        }  # fmt: skip
        exact = ranking.search(asked, features, 10)[1].numpy()
        approximate.LARGE = 1
        build = seconds(lambda: approximate.build(made))
        fast = approximate.load(made.folder, made.about.key)
        if fast is not None:
            took = statistics.median(seconds(partial(fast, asked[i : i + 1].numpy(), 10)) for i in range(20))  # fmt: skip
            places = fast(asked.numpy(), 10)[1]
            recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, places, strict=True)])  # fmt: skip
            found |= {"faiss_build_s": round(build, 1), "faiss_one_query_s": round(took, 5),
                      "faiss_recall_at_10": round(float(recall), 3)}  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {**found, "peak_MiB": round(peak)}


def main() -> None:
    """Measure all parts; the last line is JSON."""
    if part := os.environ.get("BENCH_PART"):
        way, queries, gallery = json.loads(part)
        print(json.dumps(one_search(way, queries, gallery)))
        return
    full = options(__doc__ or "").full
    found = completion_ratio(46_117 if full else 4_000)
    print(found)
    found |= search_ratio(*((1500, 6000) if full else (300, 2000)))
    print(found)
    found |= million(1_000_000 if full else 50_000)
    report("retrieval", found["search_slow_s"], found["search_fast_s"], **found)


if __name__ == "__main__":
    main()
