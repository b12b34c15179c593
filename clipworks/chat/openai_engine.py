"""Any OpenAI-compatible endpoint: vLLM, llama.cpp, Ollama, a hosted API."""

import asyncio
import json
import os
import reprlib
import socket
import urllib.request
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from textwrap import shorten
from typing import Any, get_args
from urllib.parse import urlsplit

import openai

from clipworks.chat.params import Omittable
from clipworks.chat.request import QUESTIONS, REFUSED, Reply, Request, whole
from clipworks.kit.errors import InputError

CONNECT_SECONDS = 10
HINT = "(is chat.openai.base_url right: http://HOST:PORT/v1?)"
FATAL = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.NotFoundError,
)
SENTENCES = {
    "type": "object",
    "properties": {"sentences": {"type": "array", "items": {"type": "string"}}},
    "required": ["sentences"],
    "additionalProperties": False,
}
VERDICT = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["True", "False"]}},
    "required": ["answer"],
    "additionalProperties": False,
}


def host_of(base_url: str) -> tuple[str, int]:
    """The host and the port of a server's address.

    Raises:
        InputError: it is no address.
    """
    try:
        server = urlsplit(base_url)
        host, port = server.hostname, server.port
    except ValueError:
        host = None
    if host is None or server.scheme not in ("http", "https"):
        raise InputError(
            f"chat.openai.base_url: {base_url!r} is no http address; http://HOST:PORT/v1"
        )
    return host, port or (443 if server.scheme == "https" else 80)


def _text(content: object) -> str:
    """A message's text. Some servers send it in parts, and half of a sign that takes two.

    Raises:
        TypeError: it is of another form.
    """
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    if not isinstance(content, str | None):
        raise TypeError(f"content is {type(content).__name__}")
    return whole(content or "")


def _choices(answer: Any) -> Any:
    """An answer's choices. What is none may say why: some servers send an error as if all were well.

    Raises:
        ValueError: with what it says.
    """
    if found := getattr(answer, "choices", None):
        return found
    said = getattr(answer, "error", None)
    if isinstance(said, dict):
        raise ValueError(shorten(str(said.get("message", said)), 400, placeholder=" …"))
    told = shorten(str(said), 400, placeholder=" …") if said else reprlib.repr(str(answer))
    raise ValueError(f"{told} {HINT}")


def _check_reachable(base_url: str) -> None:
    """One connection before the first question: the client itself would retry for minutes."""
    address = host_of(base_url)
    proxies = urllib.request.getproxies()
    scheme = urlsplit(base_url).scheme
    if (scheme in proxies or "all" in proxies) and not urllib.request.proxy_bypass(address[0]):
        return  # whose names may be known to the proxy alone
    try:
        with socket.create_connection(address, CONNECT_SECONDS):
            return
    except OSError as error:
        raise InputError(
            f"chat.openai.base_url: no server answers at {base_url} ({error}); start one there "
            "(`vllm serve MODEL`), or use another chat.engine"
        ) from None


class OpenAIEngine:
    """Asks a server with bounded concurrency; the client retries with back-off."""

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        concurrency: int,
        timeout: float,
        retries: int,
        structured: str,
        key_variable: str,
        no_thinking: bool,
        omit: Sequence[str],
    ) -> None:
        """The key is read from the environment and goes nowhere but to the server.

        Args:
            structured: "json_schema" (response_format), "choice" (vLLM's structured_outputs for
                True/False) or "none": free text and the parser.
            no_thinking: ask the chat template to switch thinking off (vLLM and alike only).
            omit: fields of a request that the server refuses, such as seed.
        """
        self._key_variable = key_variable
        key = (
            os.environ.get(key_variable, "").strip() or "none"
        )  # local servers want some key and check none
        if not key.isascii():
            raise InputError(f"chat.openai: the key in ${key_variable} holds signs that no key has; copy it whole")  # fmt: skip
        self._options: dict[str, Any] = {
            "base_url": base_url,
            "api_key": key,
            "timeout": timeout,
            "max_retries": retries,
        }
        host_of(base_url)
        self._concurrency = concurrency
        self._retries = retries
        self._structured = structured
        self._no_thinking = no_thinking
        self._omit = frozenset(omit)
        self.identity = {
            "engine": "openai",
            "model": model,
            "revision": "",
            "structured": structured,
            # Keys that were not always there: replies from before keep theirs.
            **({"no_thinking": "true"} if no_thinking else {}),
            **({"omit": " ".join(sorted(omit))} if omit else {}),
        }

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Replies as they arrive; a request that fails for good gives a reply of finish "error".

        Raises:
            InputError: no server is there, or it refuses the key or the model, after what was being
                answered by then.
        """
        _check_reachable(self._options["base_url"])
        loop = asyncio.new_event_loop()
        answers = self._answers(requests)
        try:
            while True:
                yield loop.run_until_complete(answers.__anext__())
        except StopAsyncIteration:
            pass
        finally:
            loop.run_until_complete(answers.aclose())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def _answers(
        self, requests: Sequence[Request]
    ) -> AsyncGenerator[tuple[int, Reply], None]:
        """Workers share one row of requests, so only `concurrency` are open at a time."""
        rest = deque(enumerate(requests))
        done: asyncio.Queue[tuple[int, Reply] | Exception | None] = asyncio.Queue()

        async def work(client: openai.AsyncOpenAI) -> None:
            while rest:
                index, request = rest.popleft()
                try:
                    await done.put((index, await self._one(client, request)))
                except Exception as error:
                    rest.clear()  # nothing more is asked; what others wait for may still come
                    await done.put(error)

        async with openai.AsyncOpenAI(**self._options) as client:
            count = min(self._concurrency, len(requests))
            workers = [asyncio.create_task(work(client)) for _ in range(count)]
            everyone = asyncio.gather(*workers, return_exceptions=True)
            everyone.add_done_callback(lambda _: done.put_nowait(None))
            failure: Exception | None = None
            try:
                while (found := await done.get()) is not None:
                    if isinstance(found, Exception):
                        failure = failure or found
                    else:
                        yield found
                if failure:
                    raise failure
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _one(self, client: openai.AsyncOpenAI, request: Request) -> Reply:
        """One request; a body that is no valid answer is asked for again, as the client does for
        lost connections, time-outs, 429 and 5xx."""
        failure = ""
        for attempt in range(self._retries + 1):
            try:
                found = await client.chat.completions.create(**self._body(request))
                choice = _choices(found)[0]
                text = _text(choice.message.content)
                if choice.finish_reason == "content_filter" and not text.strip():
                    return REFUSED
                # What a filter cut is as unfinished as what the limit did.
                ended = choice.finish_reason not in ("length", "content_filter")
                return Reply(text, "stop" if ended else "length")
            except FATAL as error:
                given = bool(os.environ.get(self._key_variable, "").strip())
                raise InputError(
                    f"chat.openai: {self._options['base_url']} refuses: {error.message} (model "
                    f"{self.identity['model']!r}, key from ${self._key_variable}{'' if given else ', which is not set'})"
                ) from None
            except (
                ValueError,
                AttributeError,
                IndexError,
                TypeError,
            ) as error:  # no JSON, no UTF-8, …
                page = isinstance(error, json.JSONDecodeError)  # as a wrong address gives
                failure = f"no valid answer: {f'no JSON {HINT}' if page else error}"
                await asyncio.sleep(min(0.1 * 2**attempt, 8))
            except openai.APIError as error:  # the client's own retries are used up
                if getattr(error, "code", None) == "content_filter":
                    return REFUSED
                place = self._options["base_url"]
                lost = not isinstance(
                    error, openai.BadRequestError | openai.UnprocessableEntityError
                )
                odd = [
                    field for field in get_args(Omittable) if field in error.message and not lost
                ]
                mend = f"; chat.openai.omit=[{', '.join(odd)}] leaves that out" if odd else ""
                return Reply(
                    f"{type(error).__name__} at {place}: {error.message}{mend}", "error", lost=lost
                )
        return Reply(failure, "error", lost=True)

    def _body(self, request: Request) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        body: dict[str, Any] = {
            "model": self.identity["model"],
            "messages": [{"role": role, "content": text} for role, text in request.messages],
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "max_tokens": request.sampling.max_tokens,
            "seed": request.seed,
        }
        body = {name: value for name, value in body.items() if name not in self._omit}
        question = request.task in QUESTIONS
        if self._structured == "json_schema" and request.task != "compose":
            schema = {
                "name": "answer",
                "strict": True,
                "schema": VERDICT if question else SENTENCES,
            }
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self._structured == "choice" and question:
            extra["structured_outputs"] = {"choice": ["True", "False"]}
        if self._no_thinking:
            extra["chat_template_kwargs"] = {"enable_thinking": False}
        return {**body, "extra_body": extra} if extra else body
