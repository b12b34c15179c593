"""The sections of solutions/retrieval/params.yaml."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from clipworks.kit.errors import InputError
from clipworks.kit.params import (
    AtLeastOne,
    Count,
    NotNegative,
    Number,
    Once,
    Place,
    Positive,
    Section,
    Seed,
    Share,
    number,
)
from clipworks.miniature.params import Backbone as MiniatureBackbone
from clipworks.retrieval.measures import AT
from clipworks.retrieval.queries import Prefix, Routing

Value = Annotated[float, BeforeValidator(number), Field(ge=0, le=255)]
Range = Annotated[tuple[Value, Value], Field(strict=False)]  # YAML has lists
Pictures = Annotated[int, Field(ge=1, le=1_000_000)]
Targets = Literal["hard", "caption", "attribute"]


class Base(Section):
    """What several stages share."""

    seed: Seed
    device: Literal["auto", "cpu", "cuda", "mps"]


class Camera(Section):
    """What stands between a street and its picture; every picture draws its own values."""

    blur: Range  # radius of the Gaussian in pixels
    light: Range  # 1 leaves the light as it is
    shear: Range  # sideways, as a share of the shorter side
    noise: Range  # standard deviation of 8-bit pixels


class Split(Section):
    """How many pictures, of how many different attributes."""

    cars: Pictures
    persons: Pictures
    car_attributes: Pictures
    person_attributes: Pictures


class Miniature(Section):
    """The embedded street."""

    train: Split
    val: Split
    test: Split
    web: Camera  # of training and validation pictures
    street: Camera  # of the gallery
    type_only: Share  # of the cars' labels
    brand_only: Share  # of those of brands that can stand alone


class World(Section):
    """The pictures: the miniature street, or a folder in the organisers' layout."""

    source: Literal["miniature", "folder"]
    miniature: Miniature
    folder: Place  # data/none stands for nothing


class Parse(Section):
    """From lines to records."""

    inventory: Place  # a JSON of colours, brands and types; data/none reads them off the labels
    routing: Routing
    skip_bad: bool  # leave out lines that cannot be read, and list them, instead of stopping


class Backbone(MiniatureBackbone):
    """The CLIP that everything starts from."""

    street: Share  # of its own pictures: a traffic camera's
    workers: Annotated[int, Field(ge=1, le=256)]


class Complete(Section):
    """Filling in what labels leave out."""

    fill: Annotated[list[Literal["colour", "type"]], Once]
    square: bool
    scale: Positive  # of the softmax that `probability` comes from; 1 is the authors'
    least_margin: Number  # cosine; below it nothing is filled in
    batch_size: AtLeastOne


class Prepare(Section):
    """Captions as training texts."""

    prefix: Prefix  # of car captions


class Finetune(Section):
    """One variant."""

    captions: Literal["raw", "completed"]
    targets: Targets
    square: bool
    lr: Positive
    warmup: Count  # steps
    epochs: Annotated[int, Field(ge=1, le=100_000)]  # length of the schedule
    stop: AtLeastOne  # training ends here
    batch_size: AtLeastOne  # pairs that are told apart
    accumulation: AtLeastOne  # batches a step
    weight_decay: NotNegative
    crop: Range  # share of the picture's area that is seen
    precision: Literal["fp32", "bf16", "fp16"]
    checkpointing: bool  # of gradients: less memory, more time
    lock_image: bool
    lock_text: bool
    checkpoint: Literal["best", "last"]
    keep_epochs: bool  # a checkpoint an epoch, for soups

    @model_validator(mode="after")
    def _agree(self) -> "Finetune":
        if self.stop > self.epochs:
            raise InputError(f"stop {self.stop} exceeds epochs {self.epochs}")
        if self.lock_image and self.lock_text:
            raise InputError("lock_image and lock_text: one tower must learn")
        if not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise InputError(f"crop {self.crop}: shares of the area, the smaller first")
        return self


class Soup(Section):
    """Which fine-tuned variants' epochs are mixed."""

    variants: Annotated[list[str], Field(min_length=1), Once]


class Row(Section):
    """One row of the table: a model and a way to search."""

    what: str
    against: str  # the row that it is held against; empty for none
    model: str  # backbone, finetune/VARIANT, soup/uniform or soup/greedy
    square: bool
    prefix: Prefix
    suffix: dict[Literal["car", "person"], str]  # of queries of each kind
    rerank: Count  # this many of the first candidates adapt the query; 0 for none


class Search(Section):
    """Gallery and queries, encoded once a model."""

    batch_size: AtLeastOne
    candidates: AtLeastOne  # that are ranked anew where a row asks for it
    rows: Annotated[dict[str, Row], Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> "Search":
        for name, row in self.rows.items():
            if name in ("kind", "validation"):
                raise InputError(f"rows.{name}: the name has a meaning of its own (submit.row, the tables' columns); choose another")  # fmt: skip
            if row.rerank and self.candidates < AT:
                raise InputError(f"candidates {self.candidates}: rows.{name} looks at them again, and answers hold {AT}")  # fmt: skip
            if row.against == name:
                raise InputError(f"rows.{name}.against: {name} would be held against itself")
            if row.against and row.against not in self.rows:
                raise InputError(f"rows.{name}.against: no row {row.against!r}; there are {list(self.rows)}")  # fmt: skip
            if row.rerank > self.candidates:
                raise InputError(f"rows.{name}.rerank {row.rerank} exceeds candidates {self.candidates}")  # fmt: skip
        return self


class Submit(Section):
    """The row that is handed in."""

    row: str  # a row's name, or `validation` for the one with the best mAP@10 there


class Evaluate(Section):
    """The table."""

    pictures: Annotated[int, Field(ge=0, le=10_000)]  # queries on the page
