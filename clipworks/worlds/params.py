"""The images."""

from typing import Literal

from clipworks.kit.params import Count, Section
from clipworks.miniature.params import Scene


class Coco(Section):
    """Where COCO lies (read where it is, never copied); data/none for nowhere."""

    validation_images: str
    validation_annotations: str
    test_images: str
    test_annotations: str


class World(Section):
    """The images: the miniature world, or a folder in COCO's layout."""

    source: Literal["miniature", "coco"]
    validation: Count  # images (miniature); a cap, 0 for all (coco)
    test: Count
    scene: Scene
    coco: Coco
