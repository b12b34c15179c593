"""The ensemble over stored windows, and the format they are stored in: parquet against safetensors.

Synthetic logits of 304 windows, 80 classes and 6 models (and the three hand baselines' place);
quick: 40 images, --full: 2,000. Both are given for 40,000 images, which take the stated disk space.
"""

import resource
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from bench.timing import alternate, options, report
from clipworks import ensemble, manifest, stored
from clipworks.ensemble import Recipe
from clipworks.models import MODELS
from clipworks.params import load
from clipworks.params.ensemble import Ensemble

WINDOWS, CLASSES, SHARD = 305, 80, 20


def main() -> None:
    """Write shards in both formats, read and fuse them."""
    full = options(__doc__ or "").full
    count = 2_000 if full else 40
    params = load("ensemble", Ensemble)
    matrix = torch.rand(CLASSES, CLASSES) / CLASSES
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shards = []
        for number in range(count // SHARD):
            rows = SHARD * WINDOWS
            torch.manual_seed(number)
            tensors = {
                "logits": torch.randn(rows, 2, len(MODELS), CLASSES).half(),
                "similarities": torch.rand(rows, 10).half(),
                "offsets": torch.arange(SHARD + 1) * WINDOWS,
            }
            name = f"{number:05d}.safetensors"
            save_file(tensors, str(folder / name))
            flat = pa.array(tensors["logits"].flatten().numpy())
            size = 2 * len(MODELS) * CLASSES
            pq.write_table(
                pa.table({"logits": pa.FixedSizeListArray.from_arrays(flat, size)}),
                folder / f"{number:05d}.parquet",
            )
            shards.append({"file": name, "images": [f"{number}_{i}" for i in range(SHARD)]})
        manifest.write(folder, models=list(MODELS), classes=CLASSES, shards=shards)
        disk = {
            kind: sum(p.stat().st_size for p in folder.glob(f"*.{kind}")) / count
            for kind in ("safetensors", "parquet")
        }

        def read_parquet() -> None:
            for path in sorted(folder.glob("*.parquet")):
                column = pq.read_table(path)["logits"].combine_chunks()
                torch.from_numpy(column.flatten().to_numpy(zero_copy_only=False)).float().sum()

        def read_safetensors() -> None:
            for path in sorted(folder.glob("*.safetensors")):
                load_file(path)["logits"].float().sum()

        def fuse() -> None:
            with torch.inference_mode():
                for part in stored.read(folder):
                    for index, model in enumerate(MODELS):
                        recipe = Recipe.of(params, model)
                        ensemble.model_logits(
                            part.logits[:, :, :, index], part.similarities, recipe, matrix
                        )

        slow, fast = alternate(read_parquet, read_safetensors, 3)
        whole, _ = alternate(fuse, lambda: None, 1)
    scale = 40_000 / count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"40,000 images: {disk['safetensors'] * 40_000 / 1e9:.1f} GB as safetensors, {disk['parquet'] * 40_000 / 1e9:.1f} GB as parquet"
    )
    print(
        f"reading {slow * scale:.0f} s -> {fast * scale:.0f} s; reading and fusing six models {whole * scale / 60:.1f} minutes, {peak:.1f} GiB"
    )
    report(
        "ensemble", slow, fast, images=count, windows=WINDOWS, minutes_for_40000=round(whole * scale / 60, 1),
        peak_GiB=round(peak, 2), GB_for_40000=round(disk["safetensors"] * 40_000 / 1e9, 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()
