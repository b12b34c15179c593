"""Fusion of windows, by hand."""

import math

import pytest
import torch

from clipworks.fusion import weighing
from clipworks.tuning import cooccurrence


def test_max_or_min_takes_the_minimum_where_no_window_is_sure() -> None:
    logits = torch.tensor([[0.5, 0.1], [0.0, -0.3]])
    torch.testing.assert_close(
        weighing.aggregate(logits, "max_or_min", threshold=0.2), torch.tensor([0.5, -0.3])
    )


def test_other_aggregations_by_hand() -> None:
    logits = torch.tensor([[3.0], [1.0], [2.0]])
    assert weighing.aggregate(logits, "max").item() == 3
    assert weighing.aggregate(logits, "mean").item() == 2
    assert weighing.aggregate(logits, "top_k", top_k=2).item() == 2.5
    assert weighing.aggregate(logits, "top_k", top_k=99).item() == 2
    sharp = weighing.aggregate(logits, "log_sum_exp", temperature=0.01).item()
    assert abs(sharp - 3) < 0.02


def test_weights_follow_the_formula() -> None:
    logits, similarities = torch.randn(4, 6), torch.rand(4, 10)
    close = logits * (1 + similarities.mean(1, keepdim=True))
    once = close * (1 + close.var(1, keepdim=True))
    twice = once * (1 + logits.var(1, keepdim=True))
    for variance, expected in (("none", close), ("once", once), ("twice", twice)):
        got = weighing.weigh_windows(logits, similarities, similarity=True, variance=variance)
        torch.testing.assert_close(got, expected)
    plain = weighing.weigh_windows(logits, similarities, similarity=False, variance="none")
    torch.testing.assert_close(plain, logits)


def test_conditional_rows_sum_to_one_or_are_zero() -> None:
    together = torch.tensor([[0.0, 2.0, 2.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    matrix = cooccurrence.conditional(together, torch.tensor([4.0, 2.0, 0.0]))
    torch.testing.assert_close(matrix.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    adjusted = weighing.add_cooccurrence(torch.tensor([[1.0, 0.0, 0.0]]), matrix, 0.5)
    torch.testing.assert_close(adjusted, torch.tensor([[1.0, 0.25, 0.25]]))


def test_standardising_an_image_needs_that_image_alone() -> None:
    logits = torch.randn(5, 8)
    torch.testing.assert_close(weighing.standardise(logits)[:1], weighing.standardise(logits[:1]))
    columns = weighing.standardise_classes(logits)
    torch.testing.assert_close(columns.mean(0), torch.zeros(8), atol=1e-6, rtol=0)


def test_log_sum_exp_by_hand() -> None:
    logits = torch.tensor([[0.0], [math.log(3)]])
    assert weighing.aggregate(logits, "log_sum_exp").item() == pytest.approx(math.log(2))
    wide = weighing.aggregate(2 * logits, "log_sum_exp", temperature=2.0).item()
    assert wide == pytest.approx(2 * math.log(2))


def test_what_is_not_said_is_the_solutions_own_rule() -> None:
    # Threshold 0.2, five windows, temperature 1.
    sure = torch.tensor([[0.1, 0.21], [-1.0, -1.0]])
    expected = torch.tensor([-1.0, 0.21])
    torch.testing.assert_close(weighing.aggregate(sure, "max_or_min"), expected)
    six = torch.arange(6.0)[:, None]
    assert weighing.aggregate(six, "top_k").item() == 3
    exactly = weighing.aggregate(torch.tensor([[0.5], [0.0]]), "max_or_min", threshold=0.5)
    assert exactly.item() == 0  # no more than the threshold is not sure


def test_each_image_is_fused_from_its_own_windows() -> None:
    logits = torch.tensor([[[1.0, -1.0], [3.0, -3.0]], [[5.0, 0.0], [7.0, 4.0]]])
    for how, expected in (
        ("max", [[3.0, -1.0], [7.0, 4.0]]),
        ("mean", [[2.0, -2.0], [6.0, 2.0]]),
        ("top_k", [[2.0, -2.0], [6.0, 2.0]]),
        ("max_or_min", [[3.0, -3.0], [7.0, 4.0]]),
    ):
        assert weighing.aggregate(logits, how).tolist() == expected
    close = weighing.aggregate(logits, "log_sum_exp", temperature=0.01)
    torch.testing.assert_close(close, torch.tensor([[3.0, -1.0], [7.0, 4.0]]), atol=0.01, rtol=0)


def test_weights_by_hand() -> None:
    logits, similarities = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.2, 0.6]])
    weigh = lambda **how: weighing.weigh_windows(logits, similarities, **how)[0]  # noqa: E731
    # The mean cosine is 0.4, the unbiased variance 2; of the logits times 1.4 it is 3.92.
    for similarity, variance, factor in (
        (False, "none", 1.0),
        (True, "none", 1.4),
        (False, "once", 3.0),
        (True, "once", 1.4 * 4.92),
        (False, "twice", 9.0),
        (True, "twice", 1.4 * 4.92 * 3),
    ):
        found = weigh(similarity=similarity, variance=variance)
        torch.testing.assert_close(found, factor * logits[0])


def test_standardising_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    assert weighing.standardise(logits).tolist() == [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    columns = torch.tensor([[1.0, 4.0], [2.0, 4.0], [3.0, 4.0]])
    assert weighing.standardise_classes(columns).T.tolist() == [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


def test_a_single_image_standardised_over_images_says_nothing_and_is_finite() -> None:
    assert weighing.standardise_classes(torch.tensor([[1.0, -3.0]])).tolist() == [[0.0, 0.0]]
