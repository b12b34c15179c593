"""clipworks: multi-label taggers from class names alone, rebuilt from leaderboard solutions on CLIP."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipworks.search.index import Index as Index
    from clipworks.tagging.tagger import Tagger as Tagger


def __getattr__(name: str) -> Any:
    """`from clipworks import Tagger` imports torch only for who asks."""
    if name == "Tagger":
        from clipworks.tagging.tagger import Tagger

        return Tagger
    if name == "Index":
        from clipworks.search.index import Index

        return Index
    raise AttributeError(f"module 'clipworks' has no attribute {name!r}")
