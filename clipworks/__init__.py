"""clipworks: multi-label taggers from class names alone, rebuilt from leaderboard solutions on CLIP."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipworks.tagging.tagger import Tagger as Tagger


def __getattr__(name: str) -> Any:
    """`from clipworks import Tagger` imports torch only for who asks."""
    if name == "Tagger":
        from clipworks.tagging.tagger import Tagger

        return Tagger
    raise AttributeError(f"module 'clipworks' has no attribute {name!r}")
