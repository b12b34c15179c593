"""From logits to tags: a threshold for each class, mostly without labels.

The rule that ships reads each class's range off unlabelled images: the median image does not show the
class (few images show any one class of many), and the highest few do. What lies far enough between
the two is a tag. bench.thresholds holds it against others and against thresholds fitted on test labels.
"""

import numpy as np
from sklearn.metrics import precision_recall_curve

from clipworks.kit.errors import InputError
from clipworks.kit.shapes import Float

HIGHEST = 0.02  # share of the images that is taken to show a class; at least FEWEST of them
FEWEST = 5
LEVEL = 0.7  # of the way from the median to the highest; chosen on validation (LOG.md)
FLOOR = 0.25  # of the median class's range: a class that no image shows has a small one of its own
ENOUGH = FEWEST / HIGHEST  # images from which a range can be read

Logits = Float[np.ndarray, "image class"]
PerClass = Float[np.ndarray, " class"]


def levels(logits: Logits) -> tuple[PerClass, PerClass]:
    """Each class's level of absence and of presence, without labels.

    Raises:
        InputError: fewer than ENOUGH images.
    """
    if len(logits) < ENOUGH:
        raise InputError(
            f"{len(logits)} images are too few to read each class's range off; at least "
            f"{ENOUGH:.0f} are needed"
        )
    count = max(FEWEST, round(HIGHEST * len(logits)))
    absent = np.median(logits, axis=0)
    highest = np.sort(logits, axis=0)[-count:].mean(axis=0) - absent
    return absent, absent + np.maximum(highest, FLOOR * np.median(highest))


def by_range(logits: Logits, *, tags_per_image: float | None = None) -> PerClass:
    """Thresholds at one level of all classes' ranges: LEVEL, or what gives so many tags an image.

    Raises:
        InputError: too few images, or more tags than classes.
    """
    absent, present = levels(logits)
    level = LEVEL
    if tags_per_image is not None:
        level = one_for_all((logits - absent) / np.maximum(present - absent, 1e-6), tags_per_image)
    return absent + level * (present - absent)


def one_for_all(logits: Logits, tags_per_image: float) -> float:
    """One threshold for all classes, at which images have so many tags on average.

    Raises:
        InputError: the number is not more than 0 and less than the number of classes.
    """
    classes = logits.shape[1]
    check_many(tags_per_image, classes)
    return float(np.quantile(logits, 1 - tags_per_image / classes))


def check_many(tags_per_image: float, classes: int) -> None:
    """Raises InputError where an image cannot have so many tags on average."""
    if not 0 < tags_per_image < classes:
        raise InputError(
            f"{tags_per_image} tags per image: choose more than 0 and fewer than {classes} classes"
        )


def by_images(logits: Logits, *, tags_per_image: float | None = None) -> tuple[PerClass, str]:
    """Thresholds from unlabelled images, and which rule they allow.

    Where they are too few for each class's range, all classes get one threshold, at which an image has
    three tags on average (or as many as were asked for).

    Raises:
        InputError: the number of tags cannot be.
    """
    if len(logits) >= ENOUGH:
        return by_range(logits, tags_per_image=tags_per_image), f"range of {len(logits)} images"
    classes = logits.shape[1]
    many = tags_per_image or min(3.0, classes / 2)
    return (
        np.full(classes, one_for_all(logits, many)),
        f"one threshold: {many:g} tags an image of {len(logits)}",
    )


def by_labels(labels: np.ndarray, logits: Logits) -> PerClass:
    """The threshold of each class with the best F1 on labelled images; a class that none shows gets
    the highest of the others."""
    found = np.full(logits.shape[1], np.nan)
    for index in np.flatnonzero((labels == 1).any(axis=0)):
        judged = labels[:, index] >= 0
        precision, recall, cuts = precision_recall_curve(
            labels[judged, index], logits[judged, index]
        )
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        found[index] = cuts[f1[:-1].argmax()]
    return np.where(np.isnan(found), np.nanmax(found), found)


def spread_of(logits: Logits) -> PerClass:
    """What takes a class's probability from 0.5, at its threshold, to 0.73: a tenth of its range."""
    if len(logits) < ENOUGH:
        return np.full(logits.shape[1], max(float(logits.std()) / 2, 1e-6))
    absent, present = levels(logits)
    return np.maximum((present - absent) / 10, 1e-6)
