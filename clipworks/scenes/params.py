"""The sections of solutions/scenes/params.yaml."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from clipworks.kit.errors import InputError
from clipworks.kit.params import (
    AtLeastOne,
    NotNegative,
    Once,
    Place,
    Positive,
    Section,
    Seed,
    Share,
    number,
)
from clipworks.miniature.params import Backbone, Scene

Split = Literal["validation", "test"]
Pictures = Annotated[int, Field(ge=1, le=1_000_000)]
Side = Annotated[int, Field(ge=1, le=4096)]
Factor = Annotated[float, BeforeValidator(number), Field(ge=0, le=100)]
Pooling = Literal["shared_softmax", "embedding_mean", "template_softmax", "log_sum_exp"]


class Base(Section):
    """What several stages share."""

    seed: Seed
    device: Literal["auto", "cpu", "cuda", "mps"]
    places: Annotated[list[str], Once]  # of the miniature world


class Miniature(Section):
    """Pictures of places, as a poor camera would have taken them."""

    validation: Pictures
    test: Pictures
    scene: Scene
    width: Side  # pixels of the squashed picture
    height: Side
    # radius of the Gaussian in pixels of the squashed picture
    blur: Annotated[float, BeforeValidator(number), Field(ge=0, le=100)]
    quality: Annotated[int, Field(ge=1, le=100)]  # of the JPEG files


class Folders(Section):
    """Where pictures of one's own lie; data/none for no validation split."""

    test: Place
    validation: Place


class World(Section):
    """The pictures: the miniature world, or folders in the contest's layout or any other."""

    source: Literal["miniature", "folder"]
    miniature: Miniature
    folder: Folders


class Model(Backbone):
    """A CLIP: pretrained here, or published weights that open_clip knows."""

    seed: Seed  # beside base.seed


class Prompts(Section):
    """Which file of templates and class sentences."""

    file: Place


class Probabilities(Section):
    """How a model looks at the pictures."""

    # Factors to cache; 1 leaves a picture as it is.
    sharpen: Annotated[list[Factor], Field(min_length=1), Once]
    batch_size: AtLeastOne


class Ensemble(Section):
    """From cached cosines to class probabilities."""

    groups: Annotated[list[str], Field(min_length=1), Once]  # of the prompts file
    pooling: Pooling
    scale: Positive  # cosine -> logit
    sharpen: dict[str, Factor]  # factor of each model
    weights: dict[str, NotNegative]  # of each model; divided by their sum
    drop: Share  # per-prompt probabilities of at most this become 0 after mixing; 0 for none
    drop_tried: Share  # what the table's row `drop` takes
    choice: Literal["fixed", "confidence", "information", "agreement", "consistency", "consensus"]
    steps: Annotated[int, Field(ge=1, le=20)]  # a choice tries weights in steps of 1 / steps

    @model_validator(mode="after")
    def _agree(self) -> "Ensemble":
        if set(self.sharpen) != set(self.weights):
            raise InputError(
                f"sharpen and weights must name the same models, not {sorted(self.sharpen)} "
                f"and {sorted(self.weights)}"
            )
        if min(self.weights.values(), default=-1) < 0 or sum(self.weights.values()) <= 0:
            raise InputError(f"weights must be 0 or more and not all 0, not {self.weights}")
        if self.drop and self.pooling != "shared_softmax":
            raise InputError(
                f"drop is defined for pooling shared_softmax alone, not for {self.pooling}; "
                "set drop to 0"
            )
        return self


class Submit(Section):
    """The row that is handed in."""

    row: str


class Evaluate(Section):
    """The table."""

    confidence: Annotated[float, BeforeValidator(number), Field(gt=0, lt=1)]  # of the intervals
    row: str  # whose confusion matrix is drawn
