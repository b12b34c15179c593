"""Captions."""

from clipworks.params import AtLeastOne, Count, Section
from clipworks.params.chat import SamplingParams


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
    sampling: SamplingParams
    verdict_sampling: SamplingParams
