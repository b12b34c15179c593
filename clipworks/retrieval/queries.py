"""Queries: of a car or of a person, and the text of each that a CLIP is given."""

import re
from collections.abc import Sequence
from typing import Literal

from clipworks.retrieval.inventory import Inventory
from clipworks.retrieval.records import Kind

PREFIXES = ("This is a ", "This is an ", "A ", "An ")
Routing = Literal["word", "substring"]
Prefix = Literal["keep", "drop"]
PERSON = re.compile(
    r"\b(person|people|pedestrian|walker|cyclist|rider|driver|tourist|passer-?by|adult|man|men|woman|women|"
    r"lady|gentleman|boy|girl|child|children|kid|male|female|he|she|his|her|they|their)s?\b",
    re.IGNORECASE,
)


def kinds(queries: Sequence[str], known: Inventory, routing: Routing = "word") -> list[Kind]:
    """A query is of a car where a type or a brand occurs in it, as it is spelled.

    Args:
        routing: "substring" anywhere, as the authors do; "word" with no letter, digit or hyphen on
            either side, which `Busan` and `Stylet` cannot fool.
    """
    names = [re.escape(name) for name in (*known.types, *known.brands)]
    if not names:
        return ["person"] * len(queries)
    inside = "|".join(sorted(names, key=len, reverse=True))
    pattern = re.compile(inside if routing == "substring" else rf"(?<![\w-])(?:{inside})(?![\w-])")
    return ["car" if pattern.search(query) else "person" for query in queries]


def prefix_of(caption: str) -> str:
    """The prefix that a caption begins with, in any case, its spelling kept; empty for none."""
    low = caption.lower()
    longest = sorted(PREFIXES, key=len, reverse=True)
    return next((caption[: len(p)] for p in longest if low.startswith(p.lower())), "")


def unclear(queries: Sequence[str], kinds: Sequence[Kind]) -> list[int]:
    """Places of queries that name neither a car nor a person; they are searched as they stand."""
    return [
        place
        for place, (query, kind) in enumerate(zip(queries, kinds, strict=True))
        if kind == "person" and not PERSON.search(query)
    ]


def encoded(query: str, kind: Kind, *, prefix: Prefix, suffix: str) -> str:
    """What the text tower is given: no final dot; car queries may lose their prefix; a suffix for all.

    Training captions go the same way, without a suffix.
    """
    text = query.strip().removesuffix(".")
    if kind == "car" and prefix == "drop":
        text = text.removeprefix(prefix_of(text))
    return f"{text} {suffix}".strip()
