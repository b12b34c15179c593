"""Which classes a caption names: by synonyms and lemmas, longest names first, whole words only."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import simplemma

from clipworks.kit.classes import Synonyms
from clipworks.kit.errors import InputError

# Punctuation is a token of its own: no phrase reaches across it ("a microwave, oven and fridge").
_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[^\W\d_]+|[,;:.!?()]")


@lru_cache(maxsize=200_000)
def lemma(word: str) -> str:
    """The noun's base form of a lower-cased word, possessive ending removed.

    Verb forms in -ing and -ed stay as they are: who is skiing need not be near skis.
    """
    word = re.sub(r"'s?$|'.*$", "", word)
    if word.endswith(("ing", "ed")) or len(word) < 3:
        return word
    base = str(simplemma.lemmatize(word, lang="en")).lower()
    if base == word and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]  # "tvs", "suvs": plurals that no dictionary has
    return base


def words(text: str) -> list[str]:
    """Lower-cased words and punctuation; hyphens separate, apostrophes stay inside."""
    return _TOKEN.findall(text.lower().replace("’", "'"))


class Labeller:
    """Finds the classes of a list in captions.

    A class is found by its own name and its synonyms, in any inflection, with hyphens or spaces
    ("hot-dog", "tennis rackets", "the dog's"). At each word the longest known phrase wins and its
    words are used up: "hot dog" is no dog. Phrases of other meaning ("bus stop", "mouse pad") are
    such phrases without a class.
    """

    def __init__(self, class_names: Sequence[str], synonyms: Synonyms) -> None:
        """Raises InputError where two classes claim the same words."""
        self.class_names = tuple(class_names)
        phrases: dict[tuple[str, ...], int | None] = {}
        for phrase in synonyms.other_meanings:
            phrases[self._key(phrase)] = None
        owner: dict[tuple[str, ...], str] = {}
        names = [(name, [name]) for name in class_names]
        names += [(name, synonyms.synonyms.get(name, [])) for name in class_names]
        for name, forms in names:
            for form in forms:
                key = self._key(form)
                if not key:
                    raise InputError(f"synonyms: {form!r} of class {name!r} has no letters")
                if owner.setdefault(key, name) != name:
                    if form == name:
                        raise InputError(f"classes {owner[key]!r} and {name!r} are the same words")
                    if owner[key] in class_names and owner[key] != form:
                        raise InputError(
                            f"synonyms: {form!r} stands for {owner[key]!r} and for {name!r}; "
                            "keep it at one of them"
                        )
                    continue
                phrases[key] = class_names.index(name)
        # By first word, longest phrases first.
        self._by_first: dict[str, list[tuple[tuple[str, ...], int | None]]] = {}
        for key, index in sorted(phrases.items(), key=lambda entry: -len(entry[0])):
            self._by_first.setdefault(key[0], []).append((key, index))

    @staticmethod
    def _key(phrase: str) -> tuple[str, ...]:
        return tuple(lemma(word) for word in words(phrase))

    def label(self, caption: str) -> list[int]:
        """Indices of the classes that the caption names, ascending, each once."""
        lemmas = [lemma(word) for word in words(caption)]
        found = set()
        position = 0
        while position < len(lemmas):
            step = 1
            for phrase, index in self._by_first.get(lemmas[position], ()):
                if len(phrase) == 1 or tuple(lemmas[position : position + len(phrase)]) == phrase:
                    step = len(phrase)
                    if index is not None:
                        found.add(index)
                    break
            position += step
        return sorted(found)

    def label_all(self, captions: Iterable[str]) -> list[list[int]]:
        """`label` for many captions."""
        return [self.label(caption) for caption in captions]
