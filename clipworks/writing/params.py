"""compose, caption and filter: what is asked for and what is kept."""

from typing import Annotated

from pydantic import Field, model_validator

from clipworks.chat.params import Sampling
from clipworks.kit.errors import InputError
from clipworks.kit.params import AtLeastOne, Count, Once, Section, Share

Rounds = Annotated[Count, Field(le=10_000)]  # of each combination or class
Sentences = Annotated[AtLeastOne, Field(le=1_000)]  # that a question asks for


class Compose(Section):
    """Which classes may appear together."""

    rounds: Annotated[AtLeastOne, Field(le=10_000_000)]
    shown: Annotated[int, Field(ge=2, le=1_000)]
    count: Annotated[AtLeastOne, Field(le=1_000)]
    sampling: Sampling


class Caption(Section):
    """The three kinds of captions."""

    combinations: Count  # at most so many, 0 for all
    feasibility: bool
    check: bool
    multi_rounds: Rounds
    multi_sentences: Sentences
    single_rounds: Rounds
    single_sentences: Sentences
    challenge_rounds: Rounds
    challenge_sentences: Sentences
    challenge_classes: Annotated[list[str], Once]
    sampling: Sampling
    verdict_sampling: Sampling
    verdict_threshold: Share

    @model_validator(mode="after")
    def _something(self) -> "Caption":
        challenge = self.challenge_rounds if self.challenge_classes else 0
        if not self.multi_rounds + self.single_rounds + challenge:
            raise InputError(
                "multi_rounds, single_rounds and challenge_rounds (of challenge_classes) are all 0, so "
                "nothing would be written; give one of them at least 1"
            )
        return self


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
