"""Tags from logits without labels: a class's range, one threshold, labels, probabilities."""

import numpy as np
import pytest

from clipworks.kit.errors import InputError
from clipworks.tagging import thresholds


def world(images: int = 500, classes: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits whose level and spread differ from class to class."""
    rng = np.random.default_rng(seed)
    labels = rng.random((images, classes)) < np.linspace(0.04, 0.2, classes)
    level, scale = rng.normal(0, 3, classes), rng.uniform(1, 3, classes)
    return labels, level + scale * (rng.normal(0, 0.6, labels.shape) + 4 * labels)


def f1(labels: np.ndarray, decided: np.ndarray) -> float:
    both = (labels & decided).sum(axis=0)
    return float((2 * both / (labels.sum(axis=0) + decided.sum(axis=0))).mean())


def test_ranges_find_classes_of_any_level_and_scale_without_labels() -> None:
    labels, logits = world()
    bound = f1(labels, logits >= thresholds.by_labels(labels, logits))
    found = f1(labels, logits > thresholds.by_range(logits))
    one = f1(labels, logits > thresholds.one_for_all(logits, labels.sum(axis=1).mean()))
    assert bound > 0.95 and found > 0.9 * bound > one


def test_a_range_is_the_median_and_the_mean_of_the_highest() -> None:
    logits = np.arange(400.0)[:, None] * [1.0, 2.0]
    absent, present = thresholds.levels(logits)
    np.testing.assert_allclose(absent, [199.5, 399])
    np.testing.assert_allclose(present, [395.5, 791])  # of the highest eight, 392 to 399
    level = thresholds.by_range(logits)
    np.testing.assert_allclose(level, absent + 0.7 * (present - absent))


def test_a_class_that_no_image_shows_is_not_given_to_the_highest_of_them() -> None:
    _, logits = world()
    logits[:, 3] = 1.0 + 0.01 * np.random.default_rng(1).normal(size=len(logits))
    assert not (logits > thresholds.by_range(logits))[:, 3].any()


@pytest.mark.parametrize("wanted", [1.0, 2.5])
def test_an_expected_number_of_tags_is_what_images_get(wanted) -> None:
    _, logits = world()
    for found in (
        thresholds.by_range(logits, tags_per_image=wanted),
        thresholds.one_for_all(logits, wanted),
    ):
        assert (logits > found).sum(axis=1).mean() == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("wanted", [0.0, -1.0, 12.0, 40.0])
def test_a_number_of_tags_that_cannot_be_is_refused(wanted) -> None:
    with pytest.raises(InputError, match=r"more than 0 and fewer than 12 classes"):
        thresholds.by_range(world()[1], tags_per_image=wanted)


def test_few_images_have_no_range() -> None:
    with pytest.raises(InputError, match=r"249 images are too few .*at least 250"):
        thresholds.by_range(world(images=249)[1])


def test_labelled_thresholds_have_the_best_f1_that_there_is() -> None:
    labels, logits = world(images=60, classes=4)
    found = thresholds.by_labels(labels, logits)
    for index in range(4):
        own, truth = logits[:, index], labels[:, index]
        each = [2 * (truth & (own >= t)).sum() / (truth.sum() + (own >= t).sum()) for t in own]
        got = own >= found[index]
        assert 2 * (truth & got).sum() / (truth.sum() + got.sum()) == pytest.approx(max(each))
    labels[:, 2] = False
    again = thresholds.by_labels(labels, logits)
    assert again[2] == max(np.delete(again, 2))


def test_few_images_get_one_threshold_and_many_their_ranges() -> None:
    _, logits = world()
    found, rule = thresholds.by_images(logits)
    np.testing.assert_array_equal(found, thresholds.by_range(logits))
    assert rule == "range of 500 images"
    few, rule = thresholds.by_images(logits[:20])
    assert rule == "one threshold: 3 tags an image of 20" and len(set(few)) == 1
    assert (logits[:20] > few).sum(axis=1).mean() == pytest.approx(3, abs=0.1)
    assert (thresholds.spread_of(logits) > 0).all() and (
        thresholds.spread_of(logits[:20]) > 0
    ).all()
