"""Who writes: the engines."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from clipworks.kit.params import AtLeastOne, Name, Place, Positive, Section, Share, number

Omittable = Literal["temperature", "top_p", "max_tokens", "seed"]


class Grammar(Section):
    """The offline stand-in: nothing to set."""


class Transformers(Section):
    """A local chat model."""

    model: Name
    revision: Name
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    batch_size: AtLeastOne
    verdict: Literal["logits", "text"]


class OpenAI(Section):
    """An OpenAI-compatible endpoint; the key comes from the environment variable alone."""

    base_url: Name
    model: Name
    concurrency: Annotated[int, Field(ge=1, le=10_000)]
    timeout: Positive  # seconds
    retries: Annotated[int, Field(ge=0, le=1000)]
    structured: Literal["none", "json_schema", "choice"]
    key_variable: Name
    no_thinking: bool
    omit: list[Omittable]


class Replay(Section):
    """Recorded replies."""

    folder: Place


class Chat(Section):
    """Who speaks, for compose, caption and filter alike."""

    engine: Literal["grammar", "transformers", "openai", "replay"]
    grammar: Grammar
    transformers: Transformers
    openai: OpenAI
    replay: Replay


class Sampling(Section):
    """How a reply is drawn. Temperature 0 is greedy."""

    temperature: Annotated[float, BeforeValidator(number), Field(ge=0, le=100)]
    top_p: Share
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
