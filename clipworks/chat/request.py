"""What is asked of a chat model, what comes back, and the interface that every engine has."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError

from clipworks.chat.params import Sampling
from clipworks.kit.errors import InputError
from clipworks.kit.files import read_text

Task = Literal["compose", "feasible", "caption", "check", "judge"]
QUESTIONS = ("feasible", "check", "judge")  # answered True or False


@dataclass(frozen=True)
class Request:
    """One question, with the conversation before it and everything the reply depends on."""

    task: Task
    template: str  # name of the template file
    template_hash: str
    messages: tuple[tuple[str, str], ...]  # (role, text), ending with the user's question
    sampling: Sampling
    seed: int
    # The values that were rendered into the question; the offline engine reads these.
    names: tuple[str, ...] = ()
    count: int = 0
    caption: str = ""

    def key(self, identity: dict[str, str]) -> str:
        """The hash under which a reply is kept: the request and who was asked."""
        content = {"engine": identity, "request": asdict(self)}
        packed = json.dumps(content, sort_keys=True, ensure_ascii=False, default=dict)
        return hashlib.sha256(packed.encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """A raw reply. `probability` is that of "True", where the engine can tell.

    `finish`: of its own, by a limit that cut it, refused by a filter of the server, or no reply at all.
    """

    text: str
    finish: Literal["stop", "length", "refused", "error"] = "stop"
    probability: float | None = None
    lost: bool = False  # an error of the way to the engine, not of this request


@runtime_checkable
class Engine(Protocol):
    """Whatever answers requests. Nothing downstream knows which one it was."""

    identity: dict[str, str]  # engine, model, revision: part of a request's key

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Yield (index into requests, reply) in any order, each as soon as it is there."""
        ...


def whole(text: str) -> str:
    """A text that can be written: a question mark for half of a sign that takes two (JSON allows them)."""
    return text.encode("utf-8", "replace").decode("utf-8")


REFUSED = Reply("", "refused")  # by a filter of the server, which would do so again
_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL | re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</think>", re.IGNORECASE)


# The templates that the dialogue needs, and what each asks about.
NEEDED = {
    "compose": "names",
    "feasible": "names",
    "caption_multi": "names",
    "caption_single": "names[0]",
    "caption_challenge": "names",
    "check": "caption",
    "judge": "caption",
}


@dataclass(frozen=True)
class Template:
    """A prompt as a Jinja template, kept as a file."""

    name: str
    source: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.source.encode()).hexdigest()[:16]
        object.__setattr__(self, "digest", digest)

    def render(self, **values: object) -> str:
        """Fill in the values.

        Raises:
            InputError: the template is no Jinja, has an unknown name, or cannot do what it says.
        """
        environment = Environment(undefined=StrictUndefined, autoescape=False)
        try:
            return environment.from_string(self.source).render(**values).strip()
        except (
            Exception
        ) as error:  # a template is a small program of its own, with faults of any kind
            line = f", line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
            why = error.message if isinstance(error, TemplateError) else error
            raise InputError(
                f"template {self.name}.txt{line}: {why}; allowed are "
                f"{' and '.join(', '.join(values).rsplit(', ', 1))}"
            ) from None


def read_templates(folder: Path) -> dict[str, Template]:
    """All templates of a folder by name, each filled in once: faults show before anything is asked.

    Raises:
        InputError: one that the dialogue needs is missing or empty, has a fault, or asks about nothing.
    """
    found = {
        path.stem: Template(path.stem, read_text(path)) for path in sorted(folder.glob("*.txt"))
    }
    if missing := sorted(NEEDED.keys() - found.keys()):
        raise InputError(f"templates {folder}: missing {[f'{name}.txt' for name in missing]}")
    if empty := [f"{name}.txt" for name in sorted(NEEDED) if not found[name].source.strip()]:
        raise InputError(f"templates {folder}: nothing stands in {empty}")
    for name, word in sorted(NEEDED.items()):
        other: dict[str, Any] = {"caption": "c d"} if word == "caption" else {"names": ["c", "d"]}
        shown = {"names": ["a", "b"], "count": 2, "caption": "a b"}
        if found[name].render(**shown) == found[name].render(**shown | other):
            raise InputError(
                f"template {name}.txt: {{{{ {word} }}}} is not in it, so that every question would be the same"
            )
    return found


def ask_for(
    task: Task,
    template: Template,
    sampling: Sampling,
    *,
    seed: int,
    before: tuple[tuple[str, str], ...] = (),
    names: tuple[str, ...] = (),
    count: int = 0,
    caption: str = "",
) -> Request:
    """Render a template into a request; `before` is the conversation so far."""
    text = template.render(names=list(names), count=count, caption=caption)
    return Request(
        task=task,
        template=template.name,
        template_hash=template.digest,
        messages=(*before, ("user", text)),
        sampling=sampling,
        seed=seed,
        names=names,
        count=count,
        caption=caption,
    )


def says_true(reply: Reply, *, threshold: float) -> bool:
    """Whether a True/False question was answered True.

    By probability where the engine gives one; else by the solution's rule for free text: it says
    True and does not say False.
    """
    if reply.probability is not None:
        return reply.probability >= threshold
    words = spoken(reply.text).lower()
    return "true" in words and "false" not in words


def spoken(text: str) -> str:
    """A reply without the thinking that some models write before it, also where a limit cut it, or where
    the chat template opened it and the reply ends it alone."""
    return _THOUGHT_ENDS.split(_THOUGHT.sub("", text))[-1]


def is_verdict(reply: Reply) -> bool:
    """Whether a True/False question was answered at all."""
    words = spoken(reply.text).lower()
    return reply.probability is not None or "true" in words or "false" in words
