"""Rules that reject a candidate caption, each with its reason."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_REFUSAL = re.compile(
    r"\b(as an ai|language model|i(?:'m| am) sorry|i (?:cannot|can't|can not|am unable)|i apologi[sz]e)\b",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(
    r"^(?:sure|certainly|of course|okay|here (?:are|is)|these are|the following|below are)\b.*"
    r"(?:sentence|description|caption|image|combination|scene|example)s?\b.*",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z]{2,}")

REASONS = (
    "empty", "cut", "refusal", "preamble", "foreign_script", "too_short", "too_long", "no_words",
    "duplicate", "no_class", "judged_false",
)  # fmt: skip


def reject(text: str, *, cut: bool, min_length: int, max_length: int) -> str | None:
    """The reason to reject a candidate, or None.

    Lengths are in characters: `min_length` and `max_length` are both still allowed. The solution's
    own rules are 6 to 149 characters and no Chinese; the rest catches what other models write.
    """
    if not text:
        return "empty"
    if cut:
        return "cut"
    if foreign_script(text):
        return "foreign_script"
    if len(text) < min_length:
        return "too_short"
    if _PREAMBLE.match(text) and text.rstrip().endswith(":"):
        return "preamble"
    if _REFUSAL.search(text):
        return "refusal"
    if len(text) > max_length:
        return "too_long"
    if len(_WORD.findall(text)) < 2:
        return "no_words"
    return None


def foreign_script(text: str) -> str | None:
    """The first letter that is not Latin, or None. CJK punctuation counts as Chinese too."""
    if text.isascii():
        return None
    for character in text:
        if not character.isascii() and _is_foreign(character):
            return character
    return None


@lru_cache(maxsize=4096)
def _is_foreign(character: str) -> bool:
    name = unicodedata.name(character, "")
    if name.startswith(("CJK", "IDEOGRAPHIC", "FULLWIDTH")):
        return True
    return character.isalpha() and not name.startswith(("LATIN", "MODIFIER"))


class Duplicates:
    """Remembers captions by a 64-bit hash of their words, so that memory stays small."""

    def __init__(self, seen: Iterable[str] = ()) -> None:
        self._seen = {self._digest(text) for text in seen}

    def add(self, text: str) -> bool:
        """Whether the caption is new; it is known from now on."""
        digest = self._digest(text)
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    @staticmethod
    def _digest(text: str) -> bytes:
        import hashlib

        words = " ".join(re.findall(r"\w+", text.lower()))
        return hashlib.blake2b(words.encode(), digest_size=8).digest()
