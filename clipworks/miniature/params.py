"""How a scene of the miniature world looks, and the CLIP that is pretrained on such scenes."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from clipworks.kit.errors import InputError
from clipworks.kit.params import Name, Place, Section, Share, number

Objects = Annotated[int, Field(ge=1, le=100)]
Width = Annotated[int, Field(ge=1, le=16_384)]  # of a tower
Steps = Annotated[int, Field(ge=1, le=10_000_000)]


class Scene(Section):
    """How a scene looks; sizes as shares of the picture's side."""

    side: Annotated[int, Field(ge=16, le=4096)]  # pixels
    objects: Annotated[tuple[Objects, Objects], Field(strict=False)]  # fewest and most
    object_size: Annotated[tuple[Share, Share], Field(strict=False)]  # of the side; YAML has lists
    clutter: Annotated[int, Field(ge=0, le=1000)]  # at most so many plain shapes
    distractors: Annotated[int, Field(ge=0, le=100)]  # at most so many glyphs of no class
    stranger: Share  # chance that an object comes from any class instead of the scene
    # standard deviation of the rotation, degrees
    tilt: Annotated[float, BeforeValidator(number), Field(ge=0, le=360)]

    @model_validator(mode="after")
    def _ranges(self) -> "Scene":
        if self.objects[0] > self.objects[1]:
            raise InputError(f"objects {self.objects}: the fewest exceed the most")
        if not 0 < self.object_size[0] <= self.object_size[1]:
            raise InputError(
                f"object_size {self.object_size}: the smallest must be more than 0 and no more than "
                "the largest"
            )
        return self


class Backbone(Section):
    """The CLIP: pretrained here for the miniature world, or published weights."""

    source: Literal["miniature", "pretrained"]
    model: Name
    pretrained: Name
    checkpoint: Place  # a file of weights instead of a tag; data/none for none
    activation: Literal["auto", "gelu", "quick_gelu"]  # of pretrained weights that do not say it
    width: Width
    text_width: Width
    text_layers: Annotated[int, Field(ge=1, le=100)]
    text_heads: Width
    context_length: Annotated[int, Field(ge=1, le=4096)]
    embed_dim: Width
    images: Annotated[
        int, Field(ge=16, le=10_000_000)
    ]  # of scene.side pixels, which is what the CLIP takes
    scene: Scene
    trunk_steps: Steps
    pair_steps: Steps

    @model_validator(mode="after")
    def _towers(self) -> "Backbone":
        if self.text_width % self.text_heads:
            raise InputError(
                f"text_width {self.text_width} is no multiple of text_heads {self.text_heads}"
            )
        if self.width % 2:
            raise InputError(
                f"width {self.width} is odd; the attention pool has a head for every 2"
            )
        if self.scene.side % 32:
            raise InputError(
                f"scene.side {self.scene.side} is no multiple of 32, as far as the image tower shrinks"
            )
        return self
