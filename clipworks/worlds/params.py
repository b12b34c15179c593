"""The images."""

from typing import Literal

from clipworks.kit.params import Count, Place, Section
from clipworks.miniature.params import Scene


class Files(Section):
    """Where images and labels lie (read where they are, never copied); data/none for nowhere."""

    validation_images: Place
    validation_labels: Place
    test_images: Place
    test_labels: Place
    label_folder: Place


class World(Section):
    """The images: the miniature world, a data set in its own layout, or any folder."""

    source: Literal["miniature", "coco", "folder", "voc2007", "nuswide"]
    validation: Count  # images (miniature); a cap, 0 for all (the others)
    test: Count
    scene: Scene
    files: Files
    without_labels: Literal[
        "keep", "drop"
    ]  # images that show no class of the list, if all are labelled
    difficult: Literal["negative", "ignored"]  # what VOC marks so
