"""Which classes a caption names: by the forms of names and synonyms, longest first, whole words."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from clipworks.kit.classes import Synonyms
from clipworks.kit.errors import InputError
from clipworks.writing.inflections import forms

# Words, but not what follows an apostrophe in one ("dog's"). Punctuation is a token of its own: no
# phrase reaches across it ("a microwave, oven and fridge").
_TOKEN = re.compile(r"(?<![^\W_])(?<![^\W_]['’])[^\W_]+|[,;:.!?()]")


def words(text: str) -> list[str]:
    """Case-folded words and punctuation; hyphens separate, possessive endings are dropped."""
    return _TOKEN.findall(unicodedata.normalize("NFC", text).casefold())


def claims(class_names: Sequence[str], synonyms: Synonyms) -> dict[tuple[str, ...], int | None]:
    """The words of every name, synonym and phrase of other meaning, and whose they are.

    Raises:
        InputError: two classes claim the same words, or a name has none.
    """
    written: dict[tuple[str, ...], int | None] = {}
    owner: dict[tuple[str, ...], str] = {}
    names = [(name, [name]) for name in class_names]
    names += [(name, synonyms.of(name)) for name in class_names]
    for name, phrases in names:
        for phrase in phrases:
            key = tuple(words(phrase))
            if not any(word.isalnum() for word in key):
                raise InputError(f"synonyms: {phrase!r} of class {name!r} has no letters")
            if owner.setdefault(key, name) != name:
                if phrase == name:
                    raise InputError(
                        f"base.classes: {owner[key]!r} and {name!r} are the same words"
                    )
                if owner[key] in class_names and owner[key].lower() != phrase.lower():
                    raise InputError(
                        f"synonyms: {phrase!r} stands for {owner[key]!r} and for {name!r}; "
                        "keep it at one of them"
                    )
                continue
            written[key] = class_names.index(name)
    for phrase in synonyms.other_meanings:
        if not any(word.isalnum() for word in words(phrase)):
            raise InputError(f"synonyms: the other meaning {phrase!r} has no letters")
        written.setdefault(tuple(words(phrase)), None)
    return written


def overruled(class_names: Sequence[str], synonyms: Synonyms) -> list[str]:
    """Phrases of a synonyms file that are not heard, since they are the name of a class."""
    own = {tuple(words(name)): name for name in class_names}
    found = []
    for name in class_names:
        others = [p for p in synonyms.of(name) if own.get(tuple(words(p)), name) != name]
        found += [
            f"{phrase!r} of {name!r} is a class itself, and found as that" for phrase in others
        ]
    return found + [
        f"the other meaning {phrase!r} is a class's own name, and found as that"
        for phrase in synonyms.other_meanings
        if tuple(words(phrase)) in own
    ]


class Labeller:
    """Finds the classes of a list in captions.

    A class is found by its own name and its synonyms, in singular and plural, with hyphens or
    spaces ("hot-dog", "tennis rackets", "the dog's"). What a caption's other words may be forms of
    does not matter: no lemmas, so "sees" is no saw. At each word the longest known phrase wins and
    its words are used up: "hot dog" is no dog. Phrases of other meaning ("bus stop", "mouse pad")
    are such phrases without a class.
    """

    def __init__(self, class_names: Sequence[str], synonyms: Synonyms) -> None:
        """Raises InputError where two classes claim the same words."""
        self.class_names = tuple(class_names)
        known = claims(class_names, synonyms)
        # What somebody wrote counts before what was inflected: with classes "glass" and "glasses",
        # or "glasses" and the other meaning "glass", each has its own word.
        for key, index in list(known.items()):
            for form in forms(key):
                known.setdefault(form, index)
        # By first word, longest phrases first.
        self._by_first: dict[str, list[tuple[tuple[str, ...], int | None]]] = {}
        for key, index in sorted(known.items(), key=lambda entry: -len(entry[0])):
            self._by_first.setdefault(key[0], []).append((key, index))

    def label(self, caption: str) -> list[int]:
        """Indices of the classes that the caption names, ascending, each once."""
        tokens = words(caption)
        found = set()
        position = 0
        while position < len(tokens):
            step = 1
            for phrase, index in self._by_first.get(tokens[position], ()):
                if len(phrase) == 1 or tuple(tokens[position : position + len(phrase)]) == phrase:
                    step = len(phrase)
                    if index is not None:
                        found.add(index)
                    break
            position += step
        return sorted(found)

    def label_all(self, captions: Iterable[str]) -> list[list[int]]:
        """`label` for many captions."""
        return [self.label(caption) for caption in captions]
