"""Fusion of windows, by hand."""

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
