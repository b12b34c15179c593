"""Peak memory and time as data grows: filter, training, inference. Each size in its own process.

Figures are the process's own (anonymous) memory: pages of memory-mapped files come and go as the
system likes. The quick form goes up to a tenth of the real size.
"""

import json
import subprocess
import sys
import tempfile

from bench.timing import options

FILTER = """
import re
import numpy as np
from pathlib import Path
from clipworks.writing import filtering, transcript
from clipworks.kit import tables
from clipworks.miniature.grammar import _captions
from clipworks.kit.classes import read_classes, read_synonyms
from clipworks.writing.labels import Labeller
names = read_classes(Path("data/classes/miniature.txt"))
labeller = Labeller(names, read_synonyms(Path("data/classes/synonyms.yaml")))
rng = np.random.default_rng(0)
some = [_captions([str(n) for n in rng.choice(names, 2, replace=False)], 5, rng) for _ in range(500)]
def replies():
    for i in range({size} // 5):
        text = re.sub(r"([a-z])\\.", rf"\\1 {{i}}.", some[i % 500])
        yield dict(source="multi", names=(), reply=text, finish="stop")
kept = tables.Writer(Path("{out}/captions.parquet"), transcript.CAPTIONS)
rejected = tables.Writer(Path("{out}/rejected.parquet"), transcript.REJECTED)
tally = filtering.Tally(names)
with kept, rejected:
    for candidate in filtering.label(filtering.candidates(replies(), min_length=6, max_length=149), labeller):
        tally.add(candidate)
        filtering.write(candidate, kept, rejected)
assert tally.candidates > 0.8 * {size}
"""
TRAIN = """
import numpy as np, torch
from pathlib import Path
from accelerate import Accelerator
from clipworks.clip import backbone
from clipworks.tuning import selection, training
from clipworks.tuning.captions import ROWS, CaptionTable
from clipworks.clip.features import CaptionFeatures
from clipworks.kit.params import load
from clipworks.tuning.params import TrainModel
from clipworks.kit.tables import Writer
import pyarrow as pa, pyarrow.parquet as pq
out = Path("{out}"); size = {size}
names = [f"class {{i}}" for i in range(20)]
config = dict(embed_dim=32, quick_gelu=False, vision_cfg=dict(image_size=32, layers=[1, 1, 1, 1], width=8),
              text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=1))
clip = backbone.Backbone(backbone.new(config, seed=0).eval().requires_grad_(False), backbone.tokenizer(77), 32, (0.,), (1.,), "squash", "tiny")
rng = np.random.default_rng(0)
with pq.ParquetWriter(out / "captions.parquet", ROWS) as writer:
    for start in range(0, size, 50_000):
        n = min(50_000, size - start)
        labels = pa.array(rng.integers(0, 20, (n, 2)).tolist(), pa.list_(pa.int32()))
        writer.write_table(pa.table([pa.array(np.arange(start, start + n), pa.int32()), pa.array(["multi"] * n), labels, pa.array(np.arange(n) % 500 == 0)], schema=ROWS))
tokens = np.lib.format.open_memmap(out / "tokens.npy", mode="w+", dtype="float16", shape=(size * 12, 32))
for start in range(0, len(tokens), 500_000):
    tokens[start : start + 500_000] = rng.standard_normal((1, 32))
np.save(out / "offsets.npy", np.arange(size + 1) * 12)
del tokens
settings = load("train.base", TrainModel)
schedule = {{**settings.schedule.model_dump(), "epochs": 1, "stop": 1}}
settings = TrainModel.model_validate({{**settings.model_dump(), "sources": ["multi"], "contexts": 4, "batch_size": 1024, "schedule": schedule}})
data = selection.select(CaptionTable(out / "captions.parquet", names), CaptionFeatures(out), settings, {{}})
make = lambda: selection.begin(clip, names, settings, out, seed=0)
training.Tuning(make, clip.model, data, settings, seed=0, accelerator=Accelerator(cpu=True), scratch=out / "s", label="train").run()
"""
INFER = """
import torch
from pathlib import Path
from PIL import Image
from torch.nn import functional as F
from clipworks.clip import backbone
from clipworks.windows import shards, visual_pass
from clipworks.windows.params import Maps
from clipworks.windows.scorer import Scorer
from clipworks.windows.tower import Options
config = dict(embed_dim=32, quick_gelu=False, vision_cfg=dict(image_size=32, layers=[1, 1, 1, 1], width=8),
              text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=1))
clip = backbone.Backbone(backbone.new(config, seed=0).eval().requires_grad_(False), backbone.tokenizer(77), 32, (0., 0., 0.), (1., 1., 1.), "squash", "tiny")
torch.manual_seed(0)
features = lambda: {{k: F.normalize(torch.randn(20, 32), dim=-1) for k in ("global", "local", "evidence")}}
models = {{str(i): features() for i in range(6)}}
scorer = Scorer.of(models, [str(i) for i in range(20)], {{name: (4.0, 50.0) for name in models}})
settings = Options(scales={scales}, positional=False, nearest=10, batch_size=256, precision="fp32", store=torch.float16, max_pixels=10**8, windows="crops", maps=Maps(resolution=1.0, density=1.0, tolerance=0.0))
out = Path("{out}")
Image.effect_noise((96, 96), 60).convert("RGB").save(out / "a.png")
work = visual_pass.Pass(clip, scorer, F.normalize(torch.randn(1000, 32), dim=-1), settings, torch.device("cpu"))
listed = dict(folder=str(out), images=["a.png"] * {size})
shards.score_split(work, listed, out / "o", scratch=out / "s", per_shard=100)
"""
STATUS = """
import threading, time, sys
peak = 0
def watch():
    global peak
    while True:
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                peak = max(peak, int(line.split()[1]))
        time.sleep(0.05)
threading.Thread(target=watch, daemon=True).start()
begin = time.time()
"""


def measure(code: str, size: int, scales: str = "[2]") -> tuple[int, float]:
    """Peak anonymous memory in MiB and seconds of one run."""
    with tempfile.TemporaryDirectory() as out:
        script = (
            STATUS
            + code.format(size=size, out=out, scales=scales)
            + "\nprint('PEAK', peak // 1024, time.time() - begin)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        _, peak, seconds = done.stdout.strip().splitlines()[-1].split()
        return int(peak), float(seconds)


def main() -> None:
    """Measure each question at growing sizes."""
    full = options(__doc__ or "").full
    questions = {
        "filter": (FILTER, [10_000, 1_000_000] if full else [10_000, 100_000]),
        "train": (TRAIN, [10_000, 1_000_000] if full else [10_000, 100_000]),
        "infer": (INFER, [1_000, 20_000] if full else [100, 400]),
    }
    memory: dict[str, dict[str, int]] = {}
    time: dict[str, dict[str, float]] = {}
    for name, (code, sizes) in questions.items():
        for size in sizes:
            peak, seconds = measure(code, size)
            print(f"{name}: {size:,} items: {peak} MiB, {seconds:.1f} s", flush=True)
            memory.setdefault(name, {})[str(size)] = peak
            time.setdefault(name, {})[str(size)] = round(seconds, 1)
    images = 1_000 if full else 100
    for scales, windows in (("[2]", 41), ("[2, 3]", 141), ("[2, 3, 4]", 305)):
        peak, seconds = measure(INFER, images, scales)
        print(f"infer: {images:,} images of {windows} windows: {peak} MiB, {seconds:.1f} s")
        memory.setdefault("windows", {})[str(windows)] = peak
        time.setdefault("windows", {})[str(windows)] = round(seconds, 1)
    low, high = (sum(list(memory[name].values())[place] for name in questions) for place in (0, 1))
    figures = {"ratio": round(high / low, 2), "MiB": memory, "seconds": time}
    print(json.dumps({"name": "memory", **figures}))


if __name__ == "__main__":
    main()
