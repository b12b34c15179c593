"""Captions as training data, and the six models that are tuned on them."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from clipworks.kit.errors import InputError
from clipworks.kit.params import (
    AtLeastOne,
    Count,
    NotNegative,
    Once,
    Place,
    Positive,
    Section,
    Share,
    number,
)


class Cooccurrence(Section):
    """The conditional matrix."""

    sources: Annotated[list[Literal["multi", "single", "challenge"]], Field(min_length=1), Once]


class EncodeCaptions(Section):
    """Caption features and the caption templates."""

    batch_size: AtLeastOne
    dtype: Literal["float32", "float16"]
    held_out: Annotated[float, BeforeValidator(number), Field(gt=0, lt=0.5)]
    template_copies: Annotated[int, Field(ge=0, le=1000)]
    companions: Place  # a YAML file: class -> things it goes with; data/none for none


class HardGroups(Section):
    """Which classes the specialists are for, by held-out captions or by a fixed list."""

    method: Literal["held_out", "fixed"]
    size: AtLeastOne  # classes per group
    fixed: Place  # a YAML file with "groups", for method fixed


Precision = Literal["fp32", "bf16", "fp16"]


class Schedule(Section):
    """Learning rate over epochs."""

    lr: Positive
    warmup: Literal["none", "constant", "linear"]
    warmup_lr: NotNegative
    warmup_epochs: Count
    decay: Literal["cosine", "constant", "linear"]
    epochs: Annotated[int, Field(ge=1, le=100_000)]  # the length of the schedule
    stop: AtLeastOne  # training ends here

    @model_validator(mode="after")
    def _order(self) -> "Schedule":
        if self.stop > self.epochs:
            raise InputError(f"stop {self.stop} exceeds epochs {self.epochs}")
        if self.warmup_epochs >= self.epochs:
            raise InputError(
                f"warmup_epochs {self.warmup_epochs} leaves nothing of {self.epochs} epochs"
            )
        if self.warmup == "constant" and not self.warmup_lr and self.warmup_epochs >= self.stop:
            raise InputError(
                f"warmup_lr 0 for {self.warmup_epochs} epochs, and training stops after {self.stop}: nothing would "
                "be learned"
            )
        return self


SourceName = Literal[
    "multi", "single", "challenge", "templates", "pairs", "combinations", "companions", "group"
]


class TrainModel(Section):
    """One of the ensemble's models."""

    start: str  # "backbone", or "train/<model>" to go on from its prompts
    sources: Annotated[list[SourceName], Field(min_length=1), Once]
    hard_list: Annotated[
        list[str], Once
    ]  # groups of hard_groups: labels are cut down to them; empty for all
    contexts: AtLeastOne
    class_specific: bool
    name_position: Literal["end", "middle", "front"]
    init_words: str
    evidence: bool
    learn_scales: bool
    ema: bool
    ema_momentum: Share
    ema_global_weight: NotNegative
    ema_local_weight: NotNegative
    save: Literal["student", "teacher"]
    loss: Literal[
        "ranking",
        "weighted_ranking",
        "asymmetric",
        "distribution_balanced",
        "soft_cross_entropy",
        "class_aware_hinge",
    ]
    optimizer: Literal["sgd", "adamw"]
    momentum: Share
    weight_decay: NotNegative
    schedule: Schedule
    batch_size: AtLeastOne
    precision: Precision
    checkpoint: Literal["best", "last"]
    patience: Count  # epochs without a better held-out mAP before it stops, 0 for never

    @model_validator(mode="after")
    def _contradictions(self) -> "TrainModel":
        if self.save == "teacher" and not self.ema:
            raise InputError("save: teacher needs ema: true")
        if self.init_words and self.start != "backbone":
            raise InputError("init_words and start: train/... both say where contexts begin")
        if self.start != "backbone" and not self.start.startswith("train/"):
            raise InputError(f"start {self.start!r}: allowed are 'backbone' and 'train/<model>'")
        return self
