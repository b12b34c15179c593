"""compose, caption and filter: what is asked for and what is kept."""

from typing import Annotated

from pydantic import Field, model_validator

from clipworks.chat.params import Sampling
from clipworks.kit.errors import InputError
from clipworks.kit.params import AtLeastOne, Count, Once, Section, Share


class Compose(Section):
    """Which classes may appear together."""

    rounds: Annotated[AtLeastOne, Field(le=10_000_000)]
    shown: Annotated[int, Field(ge=2)]
    count: AtLeastOne
    sampling: Sampling


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
    challenge_classes: Annotated[list[str], Once]
    sampling: Sampling
    verdict_sampling: Sampling
    verdict_threshold: Share


class Filter(Section):
    """Rules, labels, judge."""

    min_length: Count
    max_length: AtLeastOne
    judge: bool
    judge_threshold: Share
    sampling: Sampling

    @model_validator(mode="after")
    def _lengths(self) -> "Filter":
        if self.min_length > self.max_length:
            raise InputError(f"min_length {self.min_length} exceeds max_length {self.max_length}")
        return self
