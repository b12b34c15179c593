"""The offline stand-in for a chat model: the same questions, the same chatty answers.

It knows scenes (`clipworks.scenes`) and some sentence patterns, and it errs as a chat model does: it
numbers its lists in several ways, chats before them, forgets a class, slips into Chinese, refuses,
proposes odd combinations, contradicts itself. Its replies follow from the request alone.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from clipworks.chat.request import Reply, Request
from clipworks.miniature.alttext import WORDS
from clipworks.miniature.places import SCENES, places_of

SINGLE = (
    "{a} is standing in {place}.", "a close view of {a} in {place}.", "{a} can be seen in {place}.",
    "this picture shows {a} on a sunny day.", "{a} is the only thing in {place}.",
    "there is {a} near the window.", "an old {bare} lies in {place}.", "{a} on the ground.",
    "someone left {a} in {place}.", "a small {bare} next to a big {bare}.", "two {many} in {place}.",
)  # fmt: skip
PAIR = (
    "{a} is next to {b} in {place}.", "{a} and {b} are in {place}.", "{a} with {b} behind it.",
    "there is {a} near {b}.", "{a} is placed beside {b}.", "{place} with {a} and {b}.",
    "{a} in front of {b}.", "{a} lies close to {b} in {place}.", "a photo of {a} and {b}.",
    "{a} is on the left and {b} is on the right.", "one can see {a} as well as {b} in {place}.",
)  # fmt: skip
PERSON_PAIR = (
    "{a} is holding {b} in {place}.", "{a} is looking at {b}.", "{a} walks past {b} in {place}.",
    "{a} stands beside {b}.", "{a} is using {b}.", "{a} is waiting near {b} in {place}.",
)  # fmt: skip
MANY = (
    "{place} with {list}.", "there are {list} in {place}.", "{list} are all together in {place}.",
    "a picture of {list}.", "{list} can be seen in {place}.", "in {place} we find {list}.",
)  # fmt: skip
CHINESE = ("椅子", "在街上", "非常漂亮的", "，等待信号灯变绿，", "厨房里")
PREAMBLES = (
    "Sure, here are {n} simple sentences describing different images:",
    "Here are {n} sentences:",
    "Certainly! The following sentences describe images where these objects appear:",
)
REFUSAL = "I'm sorry, but as an AI language model I cannot describe images of such a scene."


class GrammarEngine:
    """Answers from a seeded grammar, at once and without a model."""

    def __init__(self) -> None:
        self.identity = {"engine": "grammar", "model": "scenes", "revision": "1"}

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """One reply for each request, in order."""
        for index, request in enumerate(requests):
            digest = hashlib.sha256(request.key(self.identity).encode()).digest()
            rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
            yield index, _reply(request, rng)


def _reply(request: Request, rng: np.random.Generator) -> Reply:
    if request.task == "compose":
        return Reply(_compose(list(request.names), request.count, rng))
    if request.task == "caption":
        text = _captions(list(request.names), request.count, rng)
        if rng.random() < 0.04:  # the token limit
            return Reply(text[: int(len(text) * rng.uniform(0.6, 0.95))], finish="length")
        return Reply(text)
    if request.task == "feasible":
        good = bool(places_of(request.names)) or not _known(request.names)
    else:
        named = sum(any(w in request.caption.lower() for w in _words(n)) for n in request.names)
        good = (
            named == len(request.names)
            if request.task == "check"
            else "holding" not in request.caption or rng.random() < 0.5
        )
    if rng.random() < 0.08:
        good = not good
    return Reply(_verdict(good, rng))


def _verdict(good: bool, rng: np.random.Generator) -> str:
    word = "True" if good else "False"
    reason = "such a scene is common" if good else "such a scene is hard to imagine"
    shapes = (
        f"{word}. {reason.capitalize()}.",
        f"Answer: {word}\nExplanation: {reason}.",
        f"'{word}', because {reason}.",
    )
    if rng.random() < 0.03:
        return f"It could be True or False, since {reason}."
    return shapes[rng.integers(len(shapes))]


def _known(names: Sequence[str]) -> bool:
    members = {member for scene in SCENES.values() for member in scene}
    return all(name in members for name in names)


def _compose(shown: list[str], count: int, rng: np.random.Generator) -> str:
    lines = []
    for number in range(1, count + 1):
        scene = list(SCENES)[rng.integers(len(SCENES))]
        pool = [name for name in shown if name in SCENES[scene]]
        if len(pool) < 2 or rng.random() < 0.1:  # an odd combination
            pool = shown
        size = min(len(pool), int(rng.choice([1, 2, 3, 4], p=[0.06, 0.5, 0.32, 0.12])))
        chosen = [str(name) for name in rng.choice(pool, size, replace=False)]
        shapes = (" and ".join(chosen), ", ".join(chosen), f"{', '.join(chosen)}: in a {scene}")
        lines.append(f"{number}. {shapes[rng.integers(3)]}")
    if rng.random() < 0.5:
        lines.insert(0, "Here are some category combinations that may appear together:\n")
    return "\n".join(lines)


def _captions(names: list[str], count: int, rng: np.random.Generator) -> str:
    if rng.random() < 0.02:
        return REFUSAL
    sentences = []
    for _ in range(count):
        cast = list(names)
        if len(cast) > 1 and rng.random() < 0.12:  # forgets one
            cast.pop(int(rng.integers(len(cast))))
        sentence = _sentence(cast, rng)
        if rng.random() < 0.06:
            words = sentence.split(" ")
            words.insert(int(rng.integers(1, len(words))), CHINESE[rng.integers(len(CHINESE))])
            sentence = " ".join(words)
        sentences.append(sentence[0].upper() + sentence[1:])
    style = rng.integers(6)
    if style == 0:
        sentences = [f'"{sentence}"' for sentence in sentences]
    mark = ") " if style == 1 else ". "
    between = " " if style == 2 else "\n\n" if style == 3 else "\n"
    text = between.join(f"{i}{mark}{sentence}" for i, sentence in enumerate(sentences, 1))
    if rng.random() < 0.3:
        text = PREAMBLES[rng.integers(len(PREAMBLES))].format(n=count) + "\n" + text
    return text


def _sentence(names: list[str], rng: np.random.Generator) -> str:
    places = places_of(tuple(names)) or list(SCENES)
    place = f"a {places[rng.integers(len(places))]}".replace("a office", "an office").replace(
        "a airport", "an airport"
    )
    order = [names[i] for i in rng.permutation(len(names))]
    words = [_words(name)[rng.integers(len(_words(name)))] for name in order]
    nouns = [_article(word) for word in words]
    if len(nouns) == 1:
        pattern = SINGLE[rng.integers(len(SINGLE))]
        return pattern.format(a=nouns[0], bare=words[0], many=_plural(words[0]), place=place)
    if len(nouns) == 2:
        if "person" in order:
            person = order.index("person")
            pattern = PERSON_PAIR[rng.integers(len(PERSON_PAIR))]
            return pattern.format(a=nouns[person], b=nouns[1 - person], place=place)
        return PAIR[rng.integers(len(PAIR))].format(a=nouns[0], b=nouns[1], place=place)
    listed = ", ".join(nouns[:-1]) + " and " + nouns[-1]
    return MANY[rng.integers(len(MANY))].format(list=listed, place=place)


def _words(name: str) -> tuple[str, ...]:
    return WORDS.get(name, (name,))


def _plural(word: str) -> str:
    irregular = {"child": "children", "mouse": "mice", "bus": "buses", "scissors": "scissors"}
    if word in irregular:
        return irregular[word]
    if word.endswith("man"):
        return word[:-2] + "en"
    if word.endswith(("fe", "us")):
        return word[:-2] + ("ves" if word.endswith("fe") else "i")
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


def _article(word: str) -> str:
    return f"an {word}" if word[0].lower() in "aeiou" else f"a {word}"
