"""What the tests of tagging share: pictures, shards, and how to tag."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from clipworks.tagging import work
from clipworks.tagging.tagger import Tagger


def png(side: int = 40, seed: int = 0) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def tag(tagger: Tagger, words: list[str], out: Path, **options: object) -> str:
    return work.tag(tagger, words, out, "maps", device="cpu", **options)


def shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
