"""Which engine speaks: the one place that knows them all."""

from clipworks.chat.request import Engine
from clipworks.params.chat import Chat


def make(params: Chat) -> Engine:
    """The engine that chat.engine names; heavy libraries are imported only for their own engine."""
    if params.engine == "grammar":
        from clipworks.chat.grammar import GrammarEngine

        return GrammarEngine()
    if params.engine == "transformers":
        from clipworks.chat.transformers_engine import TransformersEngine

        return TransformersEngine(**params.transformers.model_dump())
    if params.engine == "openai":
        from clipworks.chat.openai_engine import OpenAIEngine

        return OpenAIEngine(**params.openai.model_dump())
    from clipworks.chat.replay import ReplayEngine

    return ReplayEngine(params.replay.folder)
