"""Who writes: the engines."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from clipworks.kit.params import AtLeastOne, Count, Positive, Section, Share, number


class Grammar(Section):
    """The offline stand-in: nothing to set."""


class Transformers(Section):
    """A local chat model."""

    model: str
    revision: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    batch_size: AtLeastOne
    verdict: Literal["logits", "text"]


class OpenAI(Section):
    """An OpenAI-compatible endpoint; the key comes from the environment variable alone."""

    base_url: str
    model: str
    concurrency: AtLeastOne
    timeout: Positive  # seconds
    retries: Count
    structured: Literal["none", "json_schema", "choice"]
    key_variable: str
    no_thinking: bool


class Replay(Section):
    """Recorded replies."""

    folder: str


class Chat(Section):
    """Who speaks, for compose, caption and filter alike."""

    engine: Literal["grammar", "transformers", "openai", "replay"]
    grammar: Grammar
    transformers: Transformers
    openai: OpenAI
    replay: Replay


class Sampling(Section):
    """How a reply is drawn. Temperature 0 is greedy."""

    temperature: Annotated[float, BeforeValidator(number), Field(ge=0)]
    top_p: Share
    max_tokens: AtLeastOne
