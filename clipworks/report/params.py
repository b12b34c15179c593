"""The table."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from clipworks.kit.params import AtLeastOne, Number, Section


class Evaluate(Section):
    """The table."""

    decision: Literal["top_k", "threshold"]
    decision_k: AtLeastOne
    decision_threshold: Number
    pictures: Annotated[int, Field(ge=0, le=10_000)]

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """Yes/no decisions, bool of the logits' shape (image, class)."""
        from clipworks.kit import metrics  # imports scikit-learn: only where it is needed

        k = self.decision_k if self.decision == "top_k" else None
        return metrics.decide(logits, top_k=k, threshold=self.decision_threshold)
