"""Taking sentences out of what chat models write around them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clipworks.chat.request import spoken, whole

# "1. ", "2) ", "(3) ", "4: ", "5、", with Markdown's stars; also "Sentence 1:", "Image 2 -".
_NUMBER = re.compile(
    r"(?P<lead>^|(?<=[\s\"'.!?。”]))[*_#\s]*\(?"
    r"(?:(?:sentence|image|caption|description|scene|picture|example)\s*)?"
    r"(?P<number>\d{1,3})[*_]*\s*(?P<mark>[.)．、]|:(?!\d)|\s-\s)[*_]*(?:\s+|(?=[A-Za-z\"'“]))",
    re.IGNORECASE | re.MULTILINE,
)
_BULLET = re.compile(r"^\s*[-*•·–]\s+", re.MULTILINE)
_LEAD = re.compile(r"\(?\d{1,3}[.)]\s*|[-*•·–]\s+")
_FENCE = re.compile(r"```(?:\w+)?\s*(.*?)```", re.DOTALL)
_QUOTES = "\"'“”‘’„«»`*_ \t"


@dataclass(frozen=True)
class Item:
    """One candidate sentence of a reply; `cut` where the token limit ended it half-way."""

    text: str
    cut: bool = False


def items(reply: str, *, finish: str = "stop") -> list[Item]:
    """The items of a reply: a JSON list, a numbered or bulleted list, or lines.

    Thinking is removed, quotes and list marks are stripped, a chatty opening before the list is
    dropped. Where the token limit ended the reply, an unfinished last item is marked as cut.
    """
    text = spoken(reply).replace("\r\n", "\n").strip()
    parts = _json_list(text)
    if parts is None:
        parts = _numbered(text) or _bulleted(text) or text.split("\n")
    cleaned = [strip(part) for part in parts]
    found = [Item(whole(part)) for part in cleaned if part]
    if found and finish == "length" and found[-1].text[-1] not in ".!?。":
        found[-1] = Item(found[-1].text, cut=True)
    return found


def strip(text: str) -> str:
    """Without list marks and quotes around it; inner line breaks become spaces."""
    text = " ".join(text.split())
    mark = _NUMBER.match(text) or _LEAD.match(text)
    text = text[mark.end() :] if mark else text
    bare = text.strip(_QUOTES)
    # A full stop outside the closing quote belongs to the sentence: "A cat". -> A cat.
    return re.sub(r"[\"“”]+\s*([.!?])$", r"\1", bare)


def _json_list(text: str) -> list[str] | None:
    body = match.group(1).strip() if (match := _FENCE.search(text)) else text
    if not body or body[0] not in "[{":
        return None
    try:
        return list(_strings(json.loads(body)))
    except (ValueError, RecursionError):  # also numbers of 5,000 digits, brackets by the thousand
        # A list that the token limit cut: take the strings that are whole.
        strings = re.findall(r'"(?:[^"\\]|\\.){6,}"(?=\s*[,\]}])', body)
        return [_unescaped(text) for text in strings] or None


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        return text[1:-1]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for entry in value:
            words = isinstance(entry, list) and all(isinstance(word, str) for word in entry)
            # [["dog", "bench"], ["cat", "couch"]]: each list within is one combination
            yield from [", ".join(entry)] if words else _strings(entry)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _strings(entry)


def _numbered(text: str) -> list[str]:
    """Split at the marks that count on from the last one, or that open a line."""
    cuts: list[tuple[int, int]] = []
    last = 0
    dashed = False  # whether the list's first mark was one
    for match in _NUMBER.finditer(text):
        number = int(match["number"])
        line_start = text.rfind("\n", 0, match.start("number")) + 1
        opens_line = not text[line_start : match.start("number")].strip("*_# (\t\"'").strip() or (
            text[line_start : match.start("number")].strip("*_# (\t").isalpha()
        )
        dash = match["mark"].strip() == "-"
        dashed = dash if not cuts else dashed  # in other lists it may be "platform 1 - "
        inside = not dash or (dashed and (bool(cuts) or opens_line))
        if (number == last + 1 and (opens_line or inside)) or (
            opens_line and (number <= last + 2 or number == 1)
        ):
            cuts.append((match.start(), match.end()))
            last = number
    if not cuts:
        return []
    ends = [start for start, _ in cuts[1:]] + [len(text)]
    # What follows an item after a line break is an explanation, not part of the sentence.
    return [
        text[begin:end].strip().split("\n")[0] for (_, begin), end in zip(cuts, ends, strict=True)
    ]


def _bulleted(text: str) -> list[str]:
    parts = _BULLET.split(text)
    return [part.strip().split("\n")[0] for part in parts[1:]]
