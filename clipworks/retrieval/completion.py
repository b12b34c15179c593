"""What a car's label leaves out, filled in by a CLIP that has seen no label: types and colours.

A missing type is tried with the whole inventory, so is a missing colour; a brand is never invented,
since CLIPs know few of them. (The authors' shipped captions did invent brands: `grey Balong Heavy
Truck Minivan` is their most frequent one.) Every candidate is encoded once, whoever asks for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from clipworks.kit import tables
from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float
from clipworks.retrieval.inventory import Inventory, check_fill, find
from clipworks.retrieval.queries import prefix_of

UNREAD = "unread"


@dataclass(frozen=True)
class Gap:
    """A caption with what it leaves out, and every way to fill it."""

    prefix: str  # the caption's own, as it is spelled
    missing: tuple[str, ...]  # of "colour" and "type"; UNREAD where nobody knows
    candidates: tuple[
        str, ...
    ]  # colour varies slowest; the caption itself where nothing is missing


def gap(caption: str, known: Inventory, *, fill: Sequence[str] = ("colour", "type")) -> Gap:
    """The candidates of a car's caption.

    `red SUV` lacks a brand alone and is left as it is.

    Args:
        fill: which of both may be filled in.

    Raises:
        InputError: words that the inventory does not have.
    """
    prefix = prefix_of(caption)
    car = find(caption.removeprefix(prefix).removesuffix(".").strip(), known)
    missing = tuple(
        slot for slot in ("colour", "type") if getattr(car, slot) is None and slot in fill
    )
    colours = known.colours if "colour" in missing else (car.colour,)
    types = known.types if "type" in missing else (car.type,)
    candidates = tuple(
        prefix + " ".join(filter(None, (colour, car.brand, kind)))
        for colour in colours
        for kind in types
    )
    if not candidates:
        raise InputError(f"the inventory has no {' and no '.join(missing)} to fill in {caption!r}")
    return Gap(prefix, missing, candidates)


WRITTEN = pa.schema(
    {
        **dict.fromkeys(("image", "caption", "missing", "completed"), pa.large_string()),
        "probability": pa.float64(), "margin": pa.float64(), "kept": pa.bool_(),
    }
)  # fmt: skip
FILLED = pa.schema([WRITTEN.field(name) for name in ("image", "caption", "completed", "kept")])


def read(path: Path) -> dict[str, str]:
    """Each car's caption, completed where that was kept.

    Raises:
        InputError: the table is not as the stage wrote it.
    """
    rows = tables.rows(path, form=FILLED)
    return {row["image"]: row["completed" if row["kept"] else "caption"] for row in rows}


def gaps(
    captions: Sequence[str], known: Inventory, *, fill: Sequence[str] = ("colour", "type")
) -> list[Gap]:
    """The candidates of many captions; the same captions share theirs. A caption that the inventory cannot
    read stays as it is (`unread`): people write more than labels do.

    Raises:
        InputError: there is nothing to fill in at all.
    """
    if captions:
        check_fill(known, fill)
    made = {}
    for caption in dict.fromkeys(captions):
        try:
            made[caption] = gap(caption, known, fill=fill)
        except InputError:
            made[caption] = Gap("", (UNREAD,), (caption.removesuffix("."),))
    return [made[caption] for caption in captions]


@dataclass(frozen=True)
class Choice:
    """What was filled in, and how sure it is."""

    chosen: int  # position among the candidates
    text: str  # as a caption, with its dot
    probability: float  # softmax of scale · cosine over the candidates
    margin: float  # cosine of the chosen one less that of the next; 0 where there is no other


def choose(
    gaps: Sequence[Gap],
    images: Float[Tensor, "image dim"],
    texts: Float[Tensor, "text dim"],
    place: dict[str, int],
    *,
    scale: float = 1.0,
) -> list[Choice]:
    """The candidate that each picture is most similar to, the first of equal ones.

    Args:
        gaps: one a picture.
        images: unit features.
        texts: unit features of all distinct candidates.
        place: where each candidate stands in `texts`.
        scale: of the probability's softmax; 1 is the authors', the CLIP's own logit scale tells more.
    """
    alike: dict[int, list[int]] = {}
    for row, one in enumerate(gaps):
        alike.setdefault(len(one.candidates), []).append(row)
    made: dict[int, Choice] = {}
    for count, rows in alike.items():  # pictures with as many candidates go together
        where = torch.tensor([[place[text] for text in gaps[row].candidates] for row in rows])
        for part in torch.arange(len(rows)).split(4096):
            cosines = torch.einsum("nd,ncd->nc", images[rows][part], texts[where[part]]).double()
            # argmax alone may take any of equal ones on some devices
            best = (cosines == cosines.amax(dim=1, keepdim=True)).int().argmax(dim=1)
            share = torch.softmax(scale * cosines, dim=1).gather(1, best[:, None]).squeeze(1)
            top = cosines.topk(min(2, count), dim=1).values
            margin = top[:, 0] - top[:, -1]
            for i, row in enumerate(part.tolist()):
                chosen = int(best[i])
                text = f"{gaps[rows[row]].candidates[chosen]}."
                made[rows[row]] = Choice(chosen, text, float(share[i]), float(margin[i]))
    return [made[row] for row in range(len(gaps))]


def distinct(gaps: Sequence[Gap]) -> dict[str, int]:
    """All candidates, each once, with its place."""
    texts = dict.fromkeys(text for one in dict.fromkeys(gaps) for text in one.candidates)
    return {text: i for i, text in enumerate(texts)}
