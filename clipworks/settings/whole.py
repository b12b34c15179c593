"""All sections of params.yaml in one typed model."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from clipworks.chat.params import Chat
from clipworks.chat.replay import recordings
from clipworks.fusion.params import Ensemble
from clipworks.kit.params import GENERATED, PARAMS, Base, Section, load_whole
from clipworks.miniature.params import Backbone
from clipworks.report.params import Evaluate
from clipworks.tuning.params import Cooccurrence, EncodeCaptions, HardGroups, TrainModel
from clipworks.windows.params import Infer
from clipworks.worlds.params import World
from clipworks.writing.params import Caption, Compose, Filter

NOT_WRITTEN = "caption.KIND_rounds is 0, challenge_classes is empty, or chat.replay has none"


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


def written(params: Params) -> list[str]:
    """The kinds of captions that there will be: those that are asked for, or those of the recordings.

    Raises:
        InputError: the recordings cannot be read.
    """
    if params.chat.engine == "replay":
        return sorted({one.source for one in recordings(Path(params.chat.replay.folder))})
    section = params.caption
    wanted = {kind: getattr(section, f"{kind}_rounds") for kind in GENERATED}
    wanted["challenge"] *= len(section.challenge_classes)
    return [kind for kind, rounds in wanted.items() if rounds]


def load(path: Path = PARAMS) -> Params:
    """Read all of params.yaml; see clipworks.kit.params.load_whole."""
    return load_whole(Params, path)
