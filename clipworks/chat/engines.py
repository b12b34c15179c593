"""Which engine speaks: the one place that knows them all."""

from collections.abc import Callable

from clipworks.chat.params import Chat
from clipworks.chat.request import Engine


def make(params: Chat, stand_in: Callable[[], Engine]) -> Engine:
    """The engine that chat.engine names; heavy libraries are imported only for their own engine.

    Args:
        stand_in: makes the offline engine "grammar", which belongs to the miniature world.
    """
    if params.engine == "grammar":
        return stand_in()
    if params.engine == "transformers":
        from clipworks.chat.transformers_engine import TransformersEngine

        return TransformersEngine(**params.transformers.model_dump())
    if params.engine == "openai":
        from clipworks.chat.openai_engine import OpenAIEngine

        return OpenAIEngine(**params.openai.model_dump())
    from clipworks.chat.replay import ReplayEngine

    return ReplayEngine(params.replay.folder)
