"""Caption features: token features of every distinct text, packed without padding, memory-mapped.

A text's global feature is the feature of its end token, its last one, so nothing is stored twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from clipworks.clip import text
from clipworks.clip.backbone import Backbone
from clipworks.kit.errors import InputError
from clipworks.kit.files import reserve

TOKENS, OFFSETS = "tokens.npy", "offsets.npy"
CHUNK = 16_384  # texts that are tokenised and sorted by length together


@torch.inference_mode()
def encode(
    backbone: Backbone,
    texts: Sequence[str],
    folder: Path,
    *,
    batch_size: int,
    dtype: str,
    device: torch.device,
) -> int:
    """Encode texts once, L2-normed at every position.

    Writes tokens.npy, of shape (all tokens, dim), and offsets.npy, of shape (texts + 1,): text i has
    rows offsets[i] to offsets[i + 1], start and end token included.

    Returns:
        how many texts were longer than the tower's context and lost their tail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lengths = np.zeros(len(texts), np.int64)
    context = backbone.tokenizer.context_length or 77
    cut = 0
    for start in range(0, len(texts), CHUNK):
        part = list(texts[start : start + CHUNK])
        lengths[start : start + len(part)] = text.lengths(backbone.tokenize(part)).numpy()
        full = np.flatnonzero(lengths[start : start + len(part)] == context)
        cut += sum(len(backbone.tokenizer.encode(part[i])) + 2 > context for i in full)
    offsets = np.concatenate([[0], lengths.cumsum()])
    np.save(folder / OFFSETS, offsets)
    model = backbone.model.to(device)
    dim = text.encode_tokens(model, backbone.tokenize(["a"]).to(device))[0].shape[1]
    tokens = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        folder / TOKENS, mode="w+", dtype=dtype, shape=(int(offsets[-1]), dim)
    )
    reserve(folder / TOKENS)
    with tqdm(total=len(texts), desc="encode", unit="text", mininterval=1) as bar:
        for start in range(0, len(texts), CHUNK):
            part = list(texts[start : start + CHUNK])
            ids = backbone.tokenize(part)
            order = np.argsort(lengths[start : start + len(part)], kind="stable")
            for rows in np.array_split(order, max(1, -(-len(part) // batch_size))):
                _, features = text.encode_tokens(model, ids[rows].to(device))
                normed = F.normalize(features.float(), dim=-1).cpu().numpy()
                for row, value in zip(rows, normed, strict=True):
                    begin, end = offsets[start + row], offsets[start + row + 1]
                    tokens[begin:end] = value[: end - begin]
                bar.update(len(rows))
    tokens.flush()
    return int(cut)


def _mapped(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{path} is no whole file of an array ({error}); run the stage that writes it again"
        ) from None
    return found


@dataclass(frozen=True)
class Packed:
    """Texts of a batch without padding."""

    parts: Tensor  # (part, dim)
    item: Tensor  # (part,): which text each part belongs to
    ends: Tensor  # (text,): the row of each text's end token

    @property
    def items(self) -> int:
        """How many texts."""
        return len(self.ends)

    @property
    def pooled(self) -> Tensor:
        """Global features, of shape (text, dim)."""
        return self.parts[self.ends]


class CaptionFeatures:
    """What `encode` wrote, read as needed."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError where the folder lacks a file, or one is not whole."""
        for name in (TOKENS, OFFSETS):
            if not (folder / name).exists():
                raise InputError(f"{folder} lacks {name}; run `dvc repro encode_captions` first")
        self.tokens, self.offsets = (_mapped(folder / name) for name in (TOKENS, OFFSETS))
        offsets, tokens = self.offsets, self.tokens
        if offsets.ndim != 1 or tokens.ndim != 2 or int(offsets[-1]) != len(tokens):
            raise InputError(
                f"{folder}: {TOKENS} and {OFFSETS} do not fit together; run `dvc repro encode_captions`"
            )
        self._held: Tensor | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def hold(self, device: torch.device, limit: int) -> bool:
        """Copy all features to a device, once, if they take at most `limit` bytes there."""
        if self.tokens.nbytes <= limit:
            self._held = torch.from_numpy(np.array(self.tokens)).to(device)
        return self._held is not None

    @property
    def dim(self) -> int:
        """Size of a feature."""
        return int(self.tokens.shape[1])

    def batch(self, texts: np.ndarray, device: torch.device) -> Packed:
        """Gather some texts, packed, on a device."""
        begins, ends = self.offsets[texts], self.offsets[texts + 1]
        lengths = ends - begins
        last = lengths.cumsum()
        # Rows of all parts in one go: a running count, shifted to each text's place.
        rows = np.arange(int(last[-1]) if len(last) else 0) + np.repeat(
            begins - (last - lengths), lengths
        )
        if self._held is None:
            parts = torch.from_numpy(np.asarray(self.tokens[rows])).to(device)
        else:
            parts = self._held[torch.from_numpy(rows).to(device)]
        item = torch.from_numpy(np.repeat(np.arange(len(texts)), lengths))
        return Packed(parts.float(), item.to(device), torch.from_numpy(last - 1).to(device))

    def pooled(self, texts: np.ndarray) -> Tensor:
        """Global features of some texts, of shape (text, dim)."""
        return torch.from_numpy(np.asarray(self.tokens[self.offsets[texts + 1] - 1])).float()
