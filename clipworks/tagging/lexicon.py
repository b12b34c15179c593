"""What to mend in a class list before anything is tagged or trained."""

import re
from pathlib import Path

import torch

from clipworks.clip import hand, pretrained
from clipworks.clip.backbone import Backbone
from clipworks.kit.classes import Synonyms, read_classes, read_synonyms
from clipworks.writing.inflections import ADVICE, warnings
from clipworks.writing.labels import claims, overruled
from clipworks.writing.rules import foreign_script

PIECES = 3  # of one word: more, and CLIP has hardly seen it
_SIGNS = re.compile(r"^[-+.] | {2,}|_|[^\w '’&./()+-]")
NEAREST = 5  # pairs of classes that are named


def look_over(file: Path, backbone: str | None, synonyms: Path | None) -> list[str]:
    """Notes on a class list, each with what to do.

    Raises:
        InputError: the list or the synonyms are of no use at all: names twice, words of two classes.
    """
    names = read_classes(file)
    words = read_synonyms(synonyms) if synonyms else Synonyms()
    claims(names, words)
    notes = [*odd_signs(names), *(f"meaning: {line}" for line in warnings(names) if line != ADVICE)]
    notes += [f"synonyms: {line}" for line in overruled(names, words)]
    if backbone is not None:
        clip = pretrained.named(backbone)
        notes += [*split_badly(clip, names), *alike(clip, names)]
    return notes


def odd_signs(names: list[str]) -> list[str]:
    """Names that are more than one, or no words that CLIP reads."""
    notes = []
    for name in names:
        if foreign_script(name):
            notes.append(
                f"script: {name!r} is not in Latin letters: captions with other letters are rejected, and "
                "CLIP reads English; translate it"
            )
        elif name.isdigit():
            notes.append(
                f"signs: {name!r} is a number, which says nothing to CLIP; write the class's name"
            )
        elif odd := sorted(set(_SIGNS.findall(name))):
            notes.append(
                f"signs: {name!r} has {', '.join(map(repr, odd))}, which no name of one class has; a line for "
                "each class, and words with one space between"
            )
    return notes


def split_badly(clip: Backbone, names: list[str]) -> list[str]:
    """Names with a word that the tokenizer cuts into many pieces."""
    notes = []
    for name in names:
        for word in name.split():
            pieces = clip.tokenizer.encode(word)
            if len(pieces) >= PIECES:
                shown = "|".join(clip.tokenizer.decode([p]).strip() for p in pieces)
                notes.append(
                    f"tokens: {name!r}: {word!r} becomes {len(pieces)} pieces ({shown}), a word that CLIP "
                    "has rarely read; prefer a more common name if there is one"
                )
    return notes


@torch.inference_mode()
def alike(clip: Backbone, names: list[str]) -> list[str]:
    """The pairs of classes whose texts are closest for this CLIP, far closer than pairs are on average."""
    features = hand.eighty_templates(clip, names)["global"]
    cosines = features @ features.T
    upper = torch.triu_indices(len(names), len(names), offset=1)
    values = cosines[upper[0], upper[1]]
    limit = values.mean() + 3 * values.std() if len(values) > 10 else torch.tensor(0.98)
    order = values.argsort(descending=True)[:NEAREST]
    return [
        f"alike: {names[int(upper[0, i])]!r} and {names[int(upper[1, i])]!r} have a cosine of "
        f"{float(values[i]):.3f} (all pairs: {float(values.mean()):.3f}): this CLIP can hardly tell them "
        "apart; merge them, or name what differs ('computer mouse')"
        for i in order.tolist()
        if values[i] > limit
    ]
