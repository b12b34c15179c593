"""Metrics by hand."""

import numpy as np
import pytest

from clipworks.kit import metrics
from clipworks.tagging import quality

LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]])


def test_cf1_is_of_the_mean_precision_and_recall_and_of1_of_all_decisions() -> None:
    decided = np.array([[True, False, True], [False, True, False], [False, True, False]])
    found = metrics.summarise(LABELS, np.array([0.5, 0.25, np.nan]), decided)
    # Precision 1 and 1, recall 1/2 and 1; the third class, which no image shows, is not counted.
    assert found.CF1 == 85.71  # 2 · 1 · 0.75 / 1.75
    assert found.OF1 == 75.0  # 3 of 4 decisions are right, 3 of 4 labels are found
    assert found.mAP == 37.5


def test_a_class_that_is_never_decided_has_no_precision() -> None:
    labels, decided = np.array([[1, 1], [0, 1]]), np.array([[False, True], [False, False]])
    found = metrics.summarise(labels, np.array([1.0, 1.0]), decided)
    assert found.CF1 == 33.33  # precision 0 and 1, recall 0 and 1/2: 2 · 0.5 · 0.25 / 0.75
    nothing = metrics.summarise(labels, np.array([1.0, 1.0]), np.zeros((2, 2), bool))
    assert (nothing.CF1, nothing.OF1) == (0.0, 0.0)


def test_average_precision_counts_what_stands_above_each_hit() -> None:
    values = np.array([[0.9, 0.1, 0.5], [0.1, 0.3, 0.5], [0.5, 0.2, 0.5]])
    found = metrics.average_precision(LABELS, values)
    np.testing.assert_allclose(found, [(1 + 2 / 3) / 2, 1.0, np.nan])
    assert metrics.mean_ap(found) == 91.67
    nothing = metrics.average_precision(np.zeros((2, 3), int), values[:2])
    assert np.isnan(nothing).all() and nothing.shape == (3,)


def test_what_is_not_to_be_judged_is_left_out_of_its_class() -> None:
    labels = np.array([[1, 1], [-1, 0], [0, 1], [1, 0]])
    values = np.array([[0.4, 0.9], [0.9, 0.8], [0.5, 0.7], [0.3, 0.1]])
    # The first class without its second item: the hits stand second and third of three.
    found = metrics.average_precision(labels, values)
    np.testing.assert_allclose(found, [(1 / 2 + 2 / 3) / 2, (1 + 2 / 3) / 2])
    decided = np.array([[True, True], [True, True], [False, True], [False, False]])
    # Of seven judged decisions four are yes, three of them right; four labels are there.
    assert metrics.summarise(labels, found, decided).OF1 == 75.0


def test_a_value_that_is_not_finite_is_refused() -> None:
    values = np.zeros((3, 3))
    values[1, 1] = np.nan
    with pytest.raises(ValueError, match="logits hold values that are not finite"):
        metrics.average_precision(LABELS, values)


def test_a_split_that_shows_no_class_is_refused() -> None:
    metrics.check_labels(LABELS, "test")
    with pytest.raises(ValueError, match="the test annotations show none of the classes"):
        metrics.check_labels(np.zeros((2, 3), int), "test")


def test_decisions_are_the_highest_or_all_above_a_threshold() -> None:
    values = np.array([[0.5, 0.0, 0.5, -1.0], [-0.1, 0.2, 0.3, 0.4]])
    assert metrics.decide(values, top_k=1).tolist() == [
        [True, False, False, False],  # of equals the first
        [False, False, False, True],
    ]
    assert metrics.decide(values, top_k=2).tolist() == [
        [True, False, True, False],
        [False, False, True, True],
    ]
    assert metrics.decide(values).tolist() == [
        [True, False, True, False],
        [False, True, True, True],
    ]
    assert metrics.decide(values, threshold=0.3).sum() == 3


def test_one_class_that_images_show_is_no_question_of_yes_or_no() -> None:
    labels = np.zeros((10, 4), int)
    labels[:2, 1] = 1
    decided = np.zeros((10, 4), bool)
    decided[1:5, 1] = True  # one hit of two, three wrong
    found = metrics.summarise(labels, np.array([np.nan, 0.5, np.nan, np.nan]), decided)
    assert found.CF1 == 33.33  # precision 1/4, recall 1/2
    missed = np.zeros((10, 4), bool)
    missed[5:, 1] = True
    assert quality._f1(labels, missed) == {"macro_F1": 0.0, "micro_F1": 0.0}
    assert quality._f1(labels, decided) == {"macro_F1": 33.33, "micro_F1": 33.33}
