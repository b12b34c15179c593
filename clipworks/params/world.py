"""The images."""

from typing import Literal

from pydantic import ConfigDict

from clipworks.params import AtLeastOne, Count, Number, Section, Share


class Coco(Section):
    """Where COCO lies (read where it is, never copied)."""

    validation_images: str
    validation_annotations: str
    test_images: str
    test_annotations: str


class World(Section):
    """The images: the miniature world, or a folder in COCO's layout."""

    source: Literal["miniature", "coco"]
    validation: Count  # images (miniature); a cap, 0 for all (coco)
    test: Count
    side: AtLeastOne
    objects: tuple[AtLeastOne, AtLeastOne]
    object_size: tuple[Share, Share]
    clutter: Count
    distractors: Count
    stranger: Share
    tilt: Number
    coco: Coco

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
