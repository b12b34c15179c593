"""How a scene of the miniature world looks, and the CLIP that is pretrained on such scenes."""

from typing import Literal

from pydantic import ConfigDict

from clipworks.kit.params import AtLeastOne, Count, Number, Section, Share


class Scene(Section):
    """How a scene looks; sizes as shares of the picture's side."""

    side: AtLeastOne  # pixels
    objects: tuple[AtLeastOne, AtLeastOne]  # fewest and most
    object_size: tuple[Share, Share]  # of the side
    clutter: Count  # at most so many plain shapes
    distractors: Count  # at most so many glyphs of no class
    stranger: Share  # chance that an object comes from any class instead of the scene
    tilt: Number  # standard deviation of the rotation, degrees

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Backbone(Section):
    """The CLIP: pretrained here for the miniature world, or published weights."""

    source: Literal["miniature", "pretrained"]
    model: str
    pretrained: str
    checkpoint: str  # a file of weights instead of a tag; data/none for none
    activation: Literal["auto", "gelu", "quick_gelu"]  # of pretrained weights that do not say it
    width: AtLeastOne
    text_width: AtLeastOne
    text_layers: AtLeastOne
    text_heads: AtLeastOne
    context_length: AtLeastOne
    embed_dim: AtLeastOne
    images: AtLeastOne  # of scene.side pixels, which is what the CLIP takes
    scene: Scene
    trunk_steps: AtLeastOne
    pair_steps: AtLeastOne
