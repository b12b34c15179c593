"""The CLIP under everything."""

from typing import Literal

from clipworks.params import AtLeastOne, Section
from clipworks.params.scene import Scene


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
    images: AtLeastOne  # of scene.side pixels, which is what the CLIP takes
    scene: Scene
    trunk_steps: AtLeastOne
    pair_steps: AtLeastOne
