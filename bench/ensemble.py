"""The ensemble over stored windows, and the format they are stored in: parquet against safetensors.

Synthetic logits of 305 windows, 80 classes and 6 models. Quick: 40 images; --full: 40,000, which
needs 24 GB of free disk. Formats are compared on at most 1,000 images.
"""

import resource
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from bench.timing import alternate, options, report, seconds
from clipworks.fusion import recipes, routing
from clipworks.fusion.params import Ensemble
from clipworks.fusion.recipes import Recipe
from clipworks.kit.params import MODELS, load
from clipworks.windows import manifest, stored

WINDOWS, CLASSES, SHARD = 305, 80, 20
COMPARED = 1_000 // SHARD  # shards in both formats
DISTINCT = 10  # shards with numbers of their own: the time does not depend on them


def fill(folder: Path, count: int) -> None:
    """Write what the infer stage would, and some shards as parquet too."""
    made = []
    for number in range(DISTINCT):
        torch.manual_seed(number)
        made.append(
            {
                "logits": torch.randn(SHARD * WINDOWS, 2, len(MODELS), CLASSES).half(),
                "similarities": torch.rand(SHARD * WINDOWS, 10).half(),
                "offsets": torch.arange(SHARD + 1) * WINDOWS,
            }
        )
    shards = []
    for number in tqdm(range(count // SHARD), desc="write shards", mininterval=1):
        tensors, name = made[number % DISTINCT], f"{number:05d}.safetensors"
        save_file(tensors, str(folder / name))
        shards.append({"file": name, "images": [f"{number}_{i}" for i in range(SHARD)]})
        if number < COMPARED:
            flat = pa.array(tensors["logits"].flatten().numpy())
            column = pa.FixedSizeListArray.from_arrays(flat, 2 * len(MODELS) * CLASSES)
            pq.write_table(pa.table({"logits": column}), folder / f"{number:05d}.parquet")
    manifest.write(
        folder, models=list(MODELS), classes=[str(i) for i in range(CLASSES)], shards=shards
    )


def main() -> None:
    """Write shards, read them in both formats, fuse them."""
    count = 40_000 if options(__doc__ or "").full else 40
    params = load("ensemble", Ensemble)
    matrix = torch.rand(CLASSES, CLASSES) / CLASSES
    routes = {str(i): {model: 1 / len(MODELS) for model in MODELS} for i in range(CLASSES)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        fill(folder, count)
        both = sorted(folder.glob("*.parquet"))
        size = {
            kind: sum(path.with_suffix(f".{kind}").stat().st_size for path in both)
            for kind in ("safetensors", "parquet")
        }

        def read_parquet() -> None:
            for path in both:
                column = pq.read_table(path)["logits"].combine_chunks().flatten()
                torch.from_numpy(column.to_numpy(zero_copy_only=False).copy()).float().sum()

        def read_safetensors() -> None:
            for path in both:
                load_file(path.with_suffix(".safetensors"))["logits"].float().sum()

        @torch.inference_mode()
        def fuse() -> None:
            for part in tqdm(stored.read(folder), desc="fuse", mininterval=1):
                by_model = {
                    model: recipes.model_logits(
                        part.logits[:, :, :, index],
                        part.similarities,
                        Recipe.of(params, model),
                        matrix,
                    )
                    for index, model in enumerate(MODELS)
                }
                routing.combine(by_model, routes)

        slow, fast = alternate(read_parquet, read_safetensors, 3)
        took = seconds(fuse)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    gigabytes = {kind: size[kind] / (len(both) * SHARD) * count / 1e9 for kind in size}
    print(
        f"{count:,} images: {gigabytes['safetensors']:.1f} GB as safetensors, "
        f"{gigabytes['parquet']:.1f} GB as parquet; reading and fusing six models {took:.1f} s, "
        f"peak memory {peak:.1f} GiB"
    )
    report(
        "ensemble", slow, fast, images=count, compared=len(both) * SHARD, windows=WINDOWS,
        classes=CLASSES, models=len(MODELS), fuse_s=round(took, 1), peak_GiB=round(peak, 2),
        GB=round(gigabytes["safetensors"], 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()
