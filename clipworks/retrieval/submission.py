"""The contest's JSON: ten names for every query, in the order of the queries."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from clipworks.kit import files
from clipworks.kit.errors import InputError

AT = 10


class Chosen(BaseModel):
    """What data/submit/chosen.json says."""

    row: str
    validation: dict[str, float]


def text(queries: Sequence[str], names: Sequence[Sequence[str]]) -> str:
    """The file's content: queries as they were given, prefix and dot included."""
    results = [
        {"text": query, "image_names": list(found)}
        for query, found in zip(queries, names, strict=True)
    ]
    return json.dumps({"results": results}, indent=4, ensure_ascii=False)


def in_order(queries: Sequence[str], parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Results of several parts (cars, persons) in the order of the queries.

    A query that stands there twice takes its results in the order of the parts.

    Raises:
        InputError: a query without a result, or a result without a query.
    """
    left: dict[str, list[Any]] = {}
    for one in (one for part in parts for one in part):
        left.setdefault(one["text"], []).append(one)
    missing = [query for query in queries if query not in left]
    if missing:
        raise InputError(f"no result for the query {missing[0]!r}")
    try:
        ordered = [left[query].pop(0) for query in queries]
    except IndexError:
        raise InputError("a query stands there more often than its results") from None
    if over := [query for query, some in left.items() if some]:
        raise InputError(f"a result for {over[0]!r}, which is no query")
    return ordered


def check(content: Any, queries: Sequence[str], gallery: Sequence[str]) -> None:
    """Check what is to be handed in.

    Raises:
        InputError: with the first place that is wrong.
    """
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, list):
        raise InputError("a submission holds a list under 'results'")
    if len(results) != len(queries):
        raise InputError(f"a submission of {len(results)} results for {len(queries)} queries")
    known, count = set(gallery), min(AT, len(set(gallery)))
    for number, (query, one) in enumerate(zip(queries, results, strict=True), start=1):
        if one.get("text") != query:
            raise InputError(
                f"result {number} is of {one.get('text')!r}, query {number} is {query!r}: results go "
                "in the order of the queries, with their texts as given"
            )
        names = one.get("image_names", [])
        if len(names) != count:
            raise InputError(f"result {number} has {len(names)} names instead of {count}")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"result {number} names {twice} twice")
        if strange := [name for name in names if name not in known]:
            raise InputError(f"result {number} names {strange[0]!r}, which is not in the gallery")


def write(
    path: Path, queries: Sequence[str], names: Sequence[Sequence[str]], gallery: Sequence[str]
) -> None:
    """Write a submission, and read it back as a contest would.

    Raises:
        InputError: see `check`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(queries, names), encoding="utf-8")
    check(files.read_json(path), queries, gallery)
