"""Caption features and what follows from them."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from clipworks.params import AtLeastOne, Count, Section, number


class Cooccurrence(Section):
    """The conditional matrix."""

    sources: list[Literal["multi", "single", "challenge"]]


class EncodeCaptions(Section):
    """Caption features and the caption templates."""

    batch_size: AtLeastOne
    dtype: Literal["float32", "float16"]
    held_out: Annotated[float, BeforeValidator(number), Field(gt=0, lt=0.5)]
    template_copies: Count
    companions: str  # a YAML file: class -> things it goes with, or empty


class HardGroups(Section):
    """Which classes the specialists are for, by held-out captions or by a fixed list."""

    method: Literal["held_out", "fixed"]
    size: AtLeastOne  # classes per group
    fixed: str  # a YAML file with "groups", for method fixed
