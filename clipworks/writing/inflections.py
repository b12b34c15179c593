"""Singular and plural forms of names, and which of these forms English uses for other things too.

Two libraries, since each has holes that the other fills: inflect knows rules ("oxen", "casinos"),
lemminflect a lexicon ("grandchildren", "burritos"). A form that is no word labels nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

# A name is inflected at its last word and at the word before the first of these ("cups of tea",
# "passers-by", "ties the").
_AFTER_HEAD = frozenset("a an at by for her his in of off on out the their to up with".split())
# Where both libraries err: one wants "a person" for people, none wants "short" for shorts.
_SINGULARS = {"people": "person"} | {w: w for w in "blinds boxers briefs fries shorts".split()}
# Text that has a verb's -ing and past forms this often, for one of the base form, uses the verb:
# train 0.8, iron 0.11; cup 0.005, dog 0.01. (Counts are pyspellchecker's, from film subtitles.)
_COMMON = 0.1
ADVICE = (
    "phrases in which such words mean something else can stand under other_meanings (base.synonyms)"
)
_PARTS = {"ADJ": "an adjective", "ADV": "an adverb", "AUX": "an auxiliary verb"}


class Ambiguity(NamedTuple):
    """A form of a name that captions may use for something else."""

    name: str
    form: str
    why: str


def warnings(names: Iterable[str]) -> list[str]:
    """What to tell whoever wrote a class list: a line for each name that captions may use otherwise, and
    what can be done."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, form, why in ambiguous(names):
        found.setdefault(name, {}).setdefault(form, []).append(why)
    lines = []
    for name, uses in found.items():
        told = [
            f"{form!r} count for it, and that is {', '.join(whys)}" for form, whys in uses.items()
        ]
        lines.append(f"class {name!r}: captions with {', or '.join(told)}")
    return [*lines, ADVICE] if lines else []


@cache
def _rules() -> Any:
    import inflect  # takes seconds, so only where names are inflected

    return inflect.engine()


@cache
def _lexicon() -> Any:
    import lemminflect

    return lemminflect


@cache
def _frequency() -> Any:
    from spellchecker import SpellChecker

    return SpellChecker(language="en").word_frequency


def _singular(word: str, alone: bool) -> str:
    """The singular of a plural; what is none stays, as does, alone, a noun of its own ("glasses")."""
    if word in _SINGULARS:
        return _SINGULARS[word]
    known = _lexicon().getAllLemmas(word, "NOUN").get("NOUN", ())
    by_rule = _rules().singular_noun(word) or word
    if word in known and (alone or by_rule not in known):
        return word
    return by_rule if by_rule in known or not known else known[0]


@cache
def word_forms(word: str, *, alone: bool = True) -> frozenset[str]:
    """A lower-case noun as it is, in the singular and in its plurals."""
    found = {word, _singular(word, alone)}
    for base in tuple(found):
        found.update(_lexicon().getInflection(base, "NNS"))
        for classical in (False, True):
            _rules().classical(all=classical)
            found.add(_rules().plural_noun(base).lower())
    return frozenset(found)


def forms(name: Sequence[str]) -> set[tuple[str, ...]]:
    """The words of a name, and the same in the singular and plural."""
    heads = {len(name) - 1} | {i - 1 for i, w in enumerate(name) if i and w in _AFTER_HEAD}
    return {
        (*name[:head], form, *name[head + 1 :])
        for head in {min(heads), len(name) - 1}
        for form in word_forms(name[head], alone=len(name) == 1)
    }


def ambiguous(names: Iterable[str]) -> list[Ambiguity]:
    """Forms of one-word names that are another name's, another word's, or a common non-noun.

    Such words are labelled all the same ("a man saw a dog" has a saw): whoever writes the class
    list can rename the class, or list phrases under `other_meanings`.
    """
    of = {name: word_forms(name.casefold()) for name in names if name.isalpha()}
    found: dict[tuple[str, str], str] = {}  # each reason once, with the name itself if it applies
    for name, own in of.items():
        for form in sorted(own, key=lambda form: (form != name.casefold(), form)):
            whys = [f"also a form of {n!r}" for n in of if n != name and form in of[n]]
            for why in [*whys, *_other_uses(form, own)]:
                found.setdefault((name, why), form)
    return [Ambiguity(name, form, why) for (name, why), form in found.items()]


def _other_uses(form: str, own: frozenset[str]) -> Iterator[str]:
    count = _frequency()
    lemmas = _lexicon().getAllLemmas(form)
    for part, bases in lemmas.items():
        for base in bases:  # "saw" of "see", not "shelves" of "shelve", which is rare
            if base not in own and count[base] >= _COMMON * count[form]:
                yield f"also a form of the {part.lower()} {base!r}"
        if part in _PARTS:
            yield f"also {_PARTS[part]}"
    for base in own.intersection(lemmas.get("VERB", ())):
        inflected = {(*_lexicon().getInflection(base, tag), "")[0] for tag in ("VBG", "VBD")}
        if sum(count[word] for word in inflected - {base}) >= _COMMON * max(count[base], 1):
            yield f"also a form of the common verb 'to {base}'"
