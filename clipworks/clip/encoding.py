"""Features of pictures and texts, by any CLIP that open_clip builds: streamed, batched, kept."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from clipworks.clip.backbone import Backbone
from clipworks.clip.visual import normalise
from clipworks.kit.ahead import CORES, ahead
from clipworks.kit.checkpoint import states
from clipworks.kit.files import state
from clipworks.kit.shapes import Float
from clipworks.kit.tensors import save_file

Item = TypeVar("Item")
# A picture at the tower's size in one or more views: uint8 (view, size, size, 3); None leaves it out.
Prepare = Callable[[Item], np.ndarray | None]
PER_FILE = 1024  # pictures whose features are kept together
THREADS = max(2, min(16, CORES))  # Pillow decodes, resizes and filters without Python's lock


def batches(
    items: Sequence[Item], prepare: Prepare[Item], *, batch_size: int
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Places of pictures in the list, and these prepared: uint8 (view, picture, size, size, 3).

    Prepared by threads ahead of who takes them; what is left out is not among them.
    """
    prepared = ahead(prepare, items, threads=THREADS)
    good = ((place, found) for place, found in enumerate(prepared) if found is not None)
    while some := list(islice(good, batch_size)):
        yield [place for place, _ in some], np.stack([found for _, found in some], axis=1)


@torch.inference_mode()
def image_features(
    clip: Backbone,
    items: Sequence[Item],
    prepare: Prepare[Item],
    *,
    batch_size: int,
    device: torch.device,
    label: str = "encode",
    quiet: bool = False,
) -> Iterator[tuple[list[int], Float[Tensor, "view image dim"]]]:
    """Features of pictures, not normed, a batch at a time, and their places in the list."""
    model = clip.model.to(device)
    with tqdm(total=len(items), desc=label, unit="image", mininterval=1, disable=quiet) as bar:
        for places, pixels in batches(items, prepare, batch_size=batch_size):
            flat = torch.from_numpy(pixels).flatten(0, 1).to(device).permute(0, 3, 1, 2)
            features = model.encode_image(normalise(flat, clip.mean, clip.std))  # type: ignore[operator]
            yield places, features.float().unflatten(0, pixels.shape[:2]).cpu()
            bar.update(places[-1] + 1 - bar.n)


def kept_features(
    clip: Backbone, items: Sequence[Path], prepare: Prepare[Path], *, folder: Path, **options: Any
) -> Float[Tensor, "view image dim"]:
    """Features of all pictures, not normed, kept in a folder PER_FILE at a time.

    A run that was killed goes on there, and other texts start from there: pictures do not look
    otherwise because they are asked about in other words. A part is known by the names, sizes and times
    of its pictures, so that one mended picture costs one part. Folders of other settings are dropped.

    Args:
        folder: belongs to these views and weights (`kit.checkpoint.scratch_folder`).
        options: of `image_features`.
    """
    for other in states(folder):
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    files = {}
    for start in range(0, len(items), PER_FILE):
        own = items[start : start + PER_FILE]
        digest = hashlib.sha256(repr([state(path) for path in own]).encode()).hexdigest()
        files[folder / f"{digest[:24]}.safetensors"] = own
    for other in set(folder.glob("*.safetensors")) - set(files):
        other.unlink()
    for file, own in files.items():
        if not file.exists():
            some = image_features(clip, own, prepare, **options)
            features = torch.cat([found for _, found in some], dim=1)
            draft = file.with_suffix(".tmp")
            save_file({"features": features.contiguous()}, str(draft))
            draft.replace(file)
        parts.append(load_file(str(file))["features"])
    return torch.cat(parts, dim=1)


@torch.inference_mode()
def text_features(
    clip: Backbone, texts: Sequence[str], *, batch_size: int, device: torch.device
) -> Float[Tensor, "text dim"]:
    """Unit features of texts; a text that stands there twice is encoded once."""
    model = clip.model.to(device)
    distinct = list(dict.fromkeys(texts))
    parts = [distinct[i : i + batch_size] for i in range(0, len(distinct), batch_size)]
    features = torch.cat(
        [model.encode_text(clip.tokenize(part).to(device)).float().cpu() for part in parts]  # type: ignore[operator]
    )
    row = {text: i for i, text in enumerate(distinct)}
    return F.normalize(features, dim=-1)[[row[text] for text in texts]]
