"""What captions to ask for: several classes together, each class alone, the hard ones again."""

from collections.abc import Sequence

from clipworks.kit.classes import named
from clipworks.writing.dialogue import Plan
from clipworks.writing.params import Caption

Group = tuple[str, ...]


def plans(
    params: Caption, class_names: Sequence[str], combinations: Sequence[Group]
) -> tuple[Plan, ...]:
    """The three kinds of captions.

    Raises:
        InputError: a hard class that is none of the classes.
    """
    challenge = named(params.challenge_classes, class_names, where="caption.challenge_classes")
    groups = combinations[: params.combinations or None]
    alone = [(name,) for name in class_names]
    hard = challenge_groups(groups, challenge)
    return (
        Plan("multi", groups, params.multi_rounds, params.multi_sentences),
        Plan("single", alone, params.single_rounds, params.single_sentences),
        Plan("challenge", hard, params.challenge_rounds, params.challenge_sentences),
    )


def challenge_groups(combinations: Sequence[Group], challenge: Sequence[str]) -> list[Group]:
    """Each combination cut down to the hard classes; empty ones dropped, duplicates collapsed."""
    cut = (tuple(name for name in names if name in challenge) for names in combinations)
    return list(dict.fromkeys(names for names in cut if names))
