"""What makes a caption worth keeping."""

from pydantic import model_validator

from clipworks.params import AtLeastOne, Count, Section, Share
from clipworks.params.chat import Sampling


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
            raise ValueError(f"min_length {self.min_length} exceeds max_length {self.max_length}")
        return self
