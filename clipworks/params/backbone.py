"""The CLIP under everything."""

from typing import Literal

from pydantic import ConfigDict

from clipworks.params import AtLeastOne, Count, Number, Section, Share


class Backbone(Section):
    """The CLIP: pretrained here for the miniature world, or published weights."""

    source: Literal["miniature", "pretrained"]
    model: str
    pretrained: str
    width: AtLeastOne
    text_width: AtLeastOne
    text_layers: AtLeastOne
    text_heads: AtLeastOne
    context_length: AtLeastOne
    embed_dim: AtLeastOne
    image_size: AtLeastOne
    images: AtLeastOne
    objects: tuple[AtLeastOne, AtLeastOne]
    object_size: tuple[Share, Share]
    clutter: Count
    distractors: Count
    stranger: Share
    tilt: Number
    trunk_steps: AtLeastOne
    pair_steps: AtLeastOne

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
