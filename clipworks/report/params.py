"""The table."""

from typing import Literal

from clipworks.kit.params import AtLeastOne, Count, Number, Section


class Evaluate(Section):
    """The table."""

    decision: Literal["top_k", "threshold"]
    decision_k: AtLeastOne
    decision_threshold: Number
    pictures: Count
