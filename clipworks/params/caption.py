"""Captions."""

from clipworks.params import AtLeastOne, Count, Section, Share
from clipworks.params.chat import Sampling


class Caption(Section):
    """The three kinds of captions."""

    combinations: Count  # at most so many, 0 for all
    feasibility: bool
    check: bool
    multi_rounds: Count
    multi_sentences: AtLeastOne
    single_rounds: Count
    single_sentences: AtLeastOne
    challenge_rounds: Count
    challenge_sentences: AtLeastOne
    challenge_classes: list[str]
    sampling: Sampling
    verdict_sampling: Sampling
    verdict_threshold: Share
