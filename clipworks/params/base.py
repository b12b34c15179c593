"""What several stages share."""

from typing import Literal

from clipworks.params import Count, Section


class Base(Section):
    """What several stages share."""

    seed: Count
    classes: str
    synonyms: str  # a file; data/classes/no_synonyms.yaml for none
    device: Literal["auto", "cpu", "cuda", "mps"]
