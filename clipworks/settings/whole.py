"""All sections of params.yaml in one typed model."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from clipworks.chat.params import Chat
from clipworks.fusion.params import Ensemble
from clipworks.kit.errors import InputError
from clipworks.kit.files import read_yaml
from clipworks.kit.params import PARAMS, Base, Section, explain
from clipworks.miniature.params import Backbone
from clipworks.report.params import Evaluate
from clipworks.tuning.params import Cooccurrence, EncodeCaptions, HardGroups, TrainModel
from clipworks.windows.params import Infer
from clipworks.worlds.params import World
from clipworks.writing.params import Caption, Compose, Filter


class Train(Section):
    """The tuned models, in the order in which their logits are stored."""

    base: TrainModel
    ema: TrainModel
    zema: TrainModel
    diff: TrainModel
    diffh: TrainModel
    difft: TrainModel


class Params(BaseModel):
    """params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    base: Base
    world: World
    backbone: Backbone
    chat: Chat
    compose: Compose
    caption: Caption
    filter: Filter
    cooccurrence: Cooccurrence
    encode_captions: EncodeCaptions
    hard_groups: HardGroups
    launcher: str  # of training: python, or a launcher of several processes
    train: Train
    infer: Infer
    ensemble: Ensemble
    evaluate: Evaluate


def load(path: Path = PARAMS) -> Params:
    """Read all of params.yaml.

    Raises:
        InputError: every unknown, missing or mistyped key at once, each with what is allowed.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; run from the project's top folder")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no sections; allowed are {sorted(Params.model_fields)}")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        lines = [explain("", Params, issue) for issue in error.errors()]
        raise InputError(f"{path}: " + "\n".join(lines)) from None
