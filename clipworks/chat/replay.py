"""Recorded replies: our own, answered by their questions, and published ones, read as they are."""

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipworks.chat.request import Reply, Request, whole
from clipworks.kit.classes import folded
from clipworks.kit.errors import InputError
from clipworks.kit.files import read_json, read_text, walk
from clipworks.kit.tables import rows

_HEADER = re.compile(r"^\[(\d+)\]\s*(\(.*\)|\[.*\])\s*:?\s*$")
SHAPES = (
    'allowed are .json {"0": ["1. a dog sits", ...]} or [{"caption": "a dog sits"}, ...], .txt with a line '
    '[0] (\'dog\', \'bench\') before each reply, and .jsonl {"labels": ["dog"], "captions": ["a dog sits"]} '
    "a line"
)
SUFFIXES = (".json", ".jsonl", ".txt")
LISTED = "combinations.json"
COLUMNS = {"template_hash", "prompt", "reply", "finish", "probability"}  # of our own replies


@dataclass(frozen=True)
class Recording:
    """A recorded reply; `names` are the classes that were asked for, where the file says so."""

    source: str  # multi, single or challenge
    names: tuple[str, ...]
    text: str
    place: str  # file and entry

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not all(isinstance(name, str) for name in self.names):
            raise TypeError("sentences and class names are texts")
        object.__setattr__(self, "text", whole(self.text))


class ReplayEngine:
    """Answers from the replies that an earlier run kept (replies.parquet files of a folder)."""

    def __init__(self, folder: str) -> None:
        self._replies: dict[tuple[str, str], Reply] = {}
        digest = hashlib.sha256()
        for name in walk(Path(folder)) if Path(folder).is_dir() else []:
            if not name.endswith(".parquet"):
                continue
            path = Path(folder) / name
            digest.update(path.read_bytes())
            for row in rows(path):
                if missing := COLUMNS - row.keys():
                    raise InputError(f"chat.replay: {path} has no columns {sorted(missing)}")
                key = (row["template_hash"], row["prompt"])
                self._replies[key] = Reply(row["reply"], row["finish"], row["probability"])
        self.holds_answers = bool(self._replies)
        # Another recording in the same folder gives other replies.
        self.identity = {"engine": "replay", "model": folder, "revision": digest.hexdigest()[:16]}

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """The recorded replies.

        Raises:
            InputError: nobody recorded an answer to a question.
        """
        for index, request in enumerate(requests):
            prompt = "\n\n".join(f"[{role}] {text}" for role, text in request.messages)
            reply = self._replies.get((request.template_hash, prompt))
            if reply is None:
                raise InputError(
                    f"chat.replay: {self.identity['model']} holds no recorded answer to the "
                    f"{request.task} question that begins {prompt[:80]!r}; switch such questions "
                    "off (filter.judge=false) or use another engine"
                )
            yield index, reply


def recordings(folder: Path) -> Iterator[Recording]:
    """Every recorded reply below a folder, by its shape.

    - JSON, index -> list of sentences; or a list of {"caption": ...} objects
    - text, "[12] ('dog', 'bench')" followed by that combination's replies
    - JSONL, {"labels": [...], "captions": [...]} a line

    A file whose path speaks of "single" or "challenge" is of that source, others are multi.

    Raises:
        InputError: the folder is missing, or a file is of no known shape.
    """
    check(folder)
    for name in _replies(folder):
        found = re.search(r"single|challenge", name.lower())
        yield from _read(folder / name, found.group() if found else "multi")


def _replies(folder: Path) -> list[str]:
    names = walk(folder) if folder.is_dir() else []
    return [name for name in names if Path(name).suffix.lower() in SUFFIXES]


def check(folder: Path) -> None:
    """Raises InputError where a folder is missing or holds nothing that looks like replies."""
    if not folder.is_dir():
        raise InputError(f"chat.replay.folder: {folder} is no folder; put recorded replies there")
    if all(Path(name).name.lower() == LISTED for name in _replies(folder)):
        raise InputError(
            f"chat.replay.folder: {folder} holds no recorded replies (.json, .jsonl or .txt); .parquet files "
            "there answer True/False questions alone"
        )


def combinations(folder: Path, class_names: Sequence[str]) -> tuple[list[tuple[str, ...]], int]:
    """The combinations that recordings were made for, and those of a file combinations.json.

    Returns:
        classes of the list that each names together, and how many name fewer than two of them.
    """
    groups: list[tuple[str, ...]] = []
    for name in _replies(folder):
        if Path(name).name.lower() != LISTED:
            continue
        found = read_json(listed := folder / name)
        if not isinstance(found, list) or not all(isinstance(group, list) for group in found):
            raise InputError(f"chat.replay: {listed}: allowed is a list of lists of class names")
        groups += [tuple(group) for group in found]
    groups += [one.names for one in recordings(folder) if len(one.names) > 1]
    asked = [{folded(str(name)) for name in names} for names in groups]
    known = [tuple(name for name in class_names if folded(name) in names) for names in asked]
    found = [names for names in known if len(names) > 1]
    return found, len(known) - len(found)


@contextmanager
def _entry(place: str) -> Iterator[None]:
    """Raises InputError with the place of an entry that cannot be read."""
    try:
        yield
    except (KeyError, TypeError, ValueError, SyntaxError, RecursionError) as error:
        lacks = f" (it lacks {error})" if isinstance(error, KeyError) else ""
        if isinstance(error, json.JSONDecodeError):
            lacks = f" (no JSON: {error})"
        raise InputError(f"chat.replay: {place} is of no known shape{lacks}; {SHAPES}") from None


def _read(path: Path, source: str) -> Iterator[Recording]:
    text = read_text(path, key="chat.replay")
    if path.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            with _entry(f"{path}, line {number}"):
                entry = json.loads(line)
                names, sentences = tuple(entry["labels"]), entry["captions"]
                if not isinstance(entry["labels"], list) or not isinstance(sentences, list):
                    raise TypeError("no lists")
                Recording(source, names, "".join(sentences), "")  # all are texts
                # As JSON, which is taken apart entry by entry: a sentence may hold "1. " or a line's end.
                listed = json.dumps(sentences, ensure_ascii=False)
            yield Recording(source, names, listed, f"{path.name}:{number}")
    elif path.suffix.lower() == ".json":
        yield from _read_json(read_json(path, key="chat.replay"), path, source)
    else:
        names = ()
        block: list[str] = []
        headed = False
        for number, line in enumerate([*text.removesuffix("\n").split("\n"), "[0] ()"], 1):
            if match := _HEADER.match(line):
                if "".join(block).strip():
                    if not headed:
                        raise InputError(
                            f"chat.replay: {path} has text before its first line like [0] ('dog', 'bench'); "
                            "it would be taken for captions: give it such a line, or move it out of the folder"
                        )
                    yield Recording(source, names, "\n".join(block), f"{path.name}:{number}")
                headed = True
                with _entry(f"{path}, line {number}"):
                    found = ast.literal_eval(match.group(2))
                    names = (
                        (found,) if isinstance(found, str) else tuple(found)
                    )  # ('dog') is no tuple
                    Recording(source, names, "", "")  # names of another type belong to this line
                    block = []
            else:
                block.append(line)


def _read_json(content: Any, path: Path, source: str) -> Iterator[Recording]:
    if path.name.lower() == LISTED:
        return
    if isinstance(content, dict):
        for key, sentences in content.items():
            with _entry(f"{path}[{key}]"):
                if not isinstance(sentences, list):
                    raise TypeError("no list of sentences")
                parts = _rounds(sentences)
            for part in parts:
                yield Recording(source, (), _as_reply(part), f"{path.name}[{key}]")
        return
    with _entry(str(path)):
        entries = list(content)
    for number, entry in enumerate(entries):
        with _entry(f"{path}[{number}]"):
            recording = Recording(
                source, (), _as_reply([entry["caption"]]), f"{path.name}[{number}]"
            )
        yield recording


def _as_reply(sentences: list[str]) -> str:
    """Sentences of a list are told apart as JSON, since one may hold "1. "; whole replies, which have
    several lines, are taken as they were written. Raises TypeError where a sentence is no text."""
    text = "\n".join(sentences)
    if any("\n" in sentence.strip() for sentence in sentences):
        return text
    return json.dumps(sentences, ensure_ascii=False)


def _rounds(sentences: list[str]) -> list[list[str]]:
    """A list may hold several replies, each numbered from 1: part them where numbering restarts."""
    parts: list[list[str]] = [[]]
    for sentence in sentences:
        if re.match(r"\s*1[.)]\s", sentence) and parts[-1]:
            parts.append([])
        parts[-1].append(sentence)
    return [part for part in parts if part]
