"""Combinations."""

from typing import Annotated

from pydantic import Field

from clipworks.params import AtLeastOne, Section
from clipworks.params.chat import Sampling


class Compose(Section):
    """Which classes may appear together."""

    rounds: AtLeastOne
    shown: Annotated[int, Field(ge=2)]
    count: AtLeastOne
    sampling: Sampling
