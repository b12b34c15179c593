"""From windows to predictions."""

from typing import Annotated, Literal

from pydantic import model_validator

from clipworks.kit.errors import InputError
from clipworks.kit.params import (
    MODELS,
    AtLeastOne,
    NotNegative,
    Number,
    Once,
    Place,
    Positive,
    Section,
    Share,
)


class Ensemble(Section):
    """From logits of windows to predictions."""

    window_weight: Number
    captions: bool  # whether global features are moved half-way to their nearest captions
    local_weight: dict[str, Number]  # per model; "default" for the others
    cooccurrence_weight: Number
    cooccurrence_models: Annotated[list[str], Once]
    similarity: bool
    variance: dict[str, Literal["none", "once", "twice"]]  # per model, "default" for the others
    aggregation: Literal["max_or_min", "max", "mean", "top_k", "log_sum_exp"]
    threshold: Number
    top_k: AtLeastOne
    temperature: Positive
    standardise: Literal["none", "image", "windows"]
    routing: Literal["held_out", "lists", "weights", "average"]
    routing_margin: Share
    default_model: str
    lists: Place  # a YAML file with "routes", for routing lists
    weights: dict[str, NotNegative]

    @model_validator(mode="after")
    def _defaults(self) -> "Ensemble":
        for name in ("local_weight", "variance"):
            if "default" not in getattr(self, name):
                raise InputError(f"{name} needs an entry 'default'")
        others = {*self.local_weight, *self.variance} - {"default"}
        if unknown := sorted((others | {*self.cooccurrence_models, *self.weights}) - {*MODELS}):
            raise InputError(
                f"no model {unknown}; there are {list(MODELS)} ('default' in local_weight and variance alone)"
            )
        return self
