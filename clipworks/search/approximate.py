"""Galleries too large to look at every image: FAISS (an optional dependency), where it is installed.

An inverted file: images are grouped around centres, and a query looks at the groups whose centres
are nearest. Similarities are exact, but now and then an image of the true ten is missed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clipworks.search.shelf import BLOCK, Shelf

# Below it looking at all images takes less than people notice: `python -m bench.retrieval` measures it.
LARGE = 1_000_000  # images
PROBES = 64  # groups that a query looks at
Fast = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def _file(folder: Path, key: str) -> Path:
    return folder / f"faiss-{key}.bin"


def build(shelf: Shelf) -> bool:
    """Make the fast way for a large index; says whether there is one now."""
    for other in shelf.folder.glob("faiss-*.bin"):
        if other != _file(shelf.folder, shelf.about.key):
            other.unlink()
    faiss = _faiss()
    if faiss is None or shelf.about.images < LARGE:
        return False
    path, features = _file(shelf.folder, shelf.about.key), shelf.features()
    if path.exists():
        return True
    groups = max(1, min(int(4 * len(features) ** 0.5), len(features) // 40))
    index = faiss.index_factory(
        features.shape[1], f"IVF{groups},SQfp16", faiss.METRIC_INNER_PRODUCT
    )
    # Evenly over all images, in order: the same index again.
    step = max(1, len(features) // (40 * groups))
    index.train(np.ascontiguousarray(features[::step], dtype=np.float32))
    for start in range(0, len(features), BLOCK):
        index.add(np.ascontiguousarray(features[start : start + BLOCK], dtype=np.float32))
    draft = path.with_suffix(".tmp")
    faiss.write_index(index, str(draft))
    draft.replace(path)
    return True


def load(folder: Path, key: str) -> Fast | None:
    """The fast way, where it was made and FAISS is installed."""
    path, faiss = _file(folder, key), _faiss()
    if faiss is None or not path.exists():
        return None
    index = faiss.read_index(str(path))
    index.nprobe = PROBES
    return lambda query, top: index.search(np.ascontiguousarray(query, dtype=np.float32), top)
