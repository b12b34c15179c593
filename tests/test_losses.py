"""Losses: cases by hand, and fast forms against obvious ones."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clipworks.tuning import losses
from clipworks.tuning.losses import LOSSES, LabelStatistics

STATISTICS = LabelStatistics(
    count=torch.tensor([16.0, 1.0, 81.0]),
    total=100,
    together=torch.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 1.0], [3.0, 1.0, 0.0]]),
)


def obvious_ranking(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """All pairs of every item, as an item x class x class tensor."""
    pairs = (1 - logits[:, None, :] + logits[:, :, None]).clamp(min=0)
    valid = (labels == 0)[:, :, None] & (labels > 0)[:, None, :]
    return (pairs * valid).sum() / len(logits)


def test_ranking_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.5, 1.5]])
    labels = torch.tensor([[1, 0, 1]])
    # Pairs: (neg 0.5, pos 2.0): max(0, 1-2+0.5) = 0; (neg 0.5, pos 1.5): max(0, 1-1.5+0.5) = 0.
    assert losses.ranking(logits, labels).item() == 0
    # Raise the negative to 1.2: 0.2 and 0.7.
    logits[0, 1] = 1.2
    assert losses.ranking(logits, labels).item() == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 7, 80])
def test_ranking_equals_the_obvious_form_with_its_gradient(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(32, classes, generator=generator).mul(2).requires_grad_()
    labels = (torch.rand(32, classes, generator=generator) < 0.3).long()
    fast, slow = losses.ranking(logits, labels), obvious_ranking(logits, labels)
    torch.testing.assert_close(fast, slow)
    for a, b in zip(
        torch.autograd.grad(fast, logits), torch.autograd.grad(slow, logits), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_ranking_of_items_without_positives_or_negatives_is_zero() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = losses.ranking(logits, torch.tensor([[0, 0, 0], [1, 1, 1]]))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(logits.grad).all()


class LargestTensor(TorchDispatchMode):
    """Watches every operation for the largest tensor that it makes."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.numel())
        return made


@pytest.mark.parametrize("loss", [losses.ranking, obvious_ranking])
def test_ranking_makes_no_tensor_of_items_times_classes_squared(loss) -> None:
    logits = torch.randn(64, 100, requires_grad=True)
    labels = (torch.rand(64, 100) < 0.1).long()
    with LargestTensor() as largest:
        loss(logits, labels).backward()
    small = largest.numbers <= 2 * 64 * 100
    assert small == (loss is losses.ranking)


def test_ranking_of_a_thousand_classes_is_a_matter_of_megabytes() -> None:
    logits = torch.randn(1024, 1000, requires_grad=True)
    labels = (torch.rand(1024, 1000) < 0.01).long()
    losses.ranking(logits, labels).backward()
    assert torch.isfinite(logits.grad).all()


def test_weighted_ranking_equals_the_obvious_form() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(16, 3, generator=generator)
    labels = (torch.rand(16, 3, generator=generator) < 0.4).long()
    weight = losses.inverse_cooccurrence(STATISTICS.together)
    pairs = (1 - logits[:, None, :] + logits[:, :, None]).clamp(min=0) * weight
    valid = (labels == 0)[:, :, None] & (labels > 0)[:, None, :]
    expected = (pairs * valid).sum() / 16
    torch.testing.assert_close(losses.weighted_ranking(logits, labels, STATISTICS), expected)


def test_inverse_cooccurrence_by_hand() -> None:
    weight = losses.inverse_cooccurrence(STATISTICS.together)
    row = [0.0, -math.log(0.25 + 1e-6), -math.log(0.75 + 1e-6)]
    expected = torch.tensor(row) / (sum(row) / 3)
    torch.testing.assert_close(weight[0], expected)


def test_asymmetric_by_hand() -> None:
    loss = losses.asymmetric(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, 0]]))
    positive = 0.5 * math.log(2)  # (1 - 0.5)^1 · -log 0.5
    negative = 0.45**2 * -math.log(0.55)  # shifted probability 0.45
    assert loss.item() == pytest.approx((positive + negative) / 2, rel=1e-5)


def test_soft_cross_entropy_by_hand() -> None:
    loss = losses.soft_cross_entropy(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[1, 1, 0]]))
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)


def test_class_aware_hinge_by_hand() -> None:
    loss = losses.class_aware_hinge(torch.zeros(1, 3), torch.tensor([[1, 0, 0]]), STATISTICS)
    margins = [16**-0.25, 1.0, 81**-0.25]
    weights = [1 / 16, 1.0, 1 / 81]
    expected = sum(m * w for m, w in zip(margins, weights, strict=True)) / sum(weights)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_distribution_balanced_by_hand() -> None:
    statistics = LabelStatistics(torch.tensor([50.0, 50.0]), 100, torch.zeros(2, 2))
    loss = losses.distribution_balanced(torch.zeros(1, 2), torch.tensor([[1, 0]]), statistics)
    # Equal counts: r = 1 for both, ν = κ log(1) = 0, softplus(0) = log 2.
    weight = 0.1 + 1 / (1 + math.exp(-10 * 0.8))
    expected = weight * (math.log(2) + math.log(2) / 2) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_prefers_right_logits_to_wrong_ones(name: str) -> None:
    labels = torch.tensor([[1, 0, 0], [0, 1, 1]])
    right = (labels * 2.0 - 1) * 3
    assert LOSSES[name](right, labels, STATISTICS) < LOSSES[name](-right, labels, STATISTICS)


def test_distillation_is_zero_for_equal_and_positive_for_other_logits() -> None:
    a, b = torch.randn(4, 5), torch.randn(4, 5)
    assert losses.distillation(a, a).item() == pytest.approx(0, abs=1e-6)
    p, q = a.softmax(1), b.softmax(1)
    torch.testing.assert_close(losses.distillation(a, b), (p * (p / q).log()).sum(1).mean())


def test_classes_that_never_meet_weigh_most_and_frequencies_weigh_as_counts_do() -> None:
    together = torch.tensor([[0.0, 4.0, 0.0], [4.0, 0.0, 12.0], [0.0, 12.0, 0.0]])
    found = losses.inverse_cooccurrence(together)
    never, quarter = -math.log(1e-6), -math.log(0.25)
    # Rows: shares (-, 1, 0), (1/4, -, 3/4), (0, 1, -); the mean of each row becomes 1.
    torch.testing.assert_close(found[0], torch.tensor([0.0, 0.0, 3.0]), atol=1e-5, rtol=0)
    middle = torch.tensor([quarter, 0.0, math.log(4 / 3)])
    torch.testing.assert_close(found[1], middle / middle.mean(), atol=1e-4, rtol=0)
    torch.testing.assert_close(losses.inverse_cooccurrence(together / 100), found)
    mixed = losses.inverse_cooccurrence(torch.tensor([[0.0, 1.0, 1.0, 0.0]] * 4))[0]
    assert (mixed[3] / mixed[1]).item() == pytest.approx(never / math.log(2), rel=1e-4)


def test_asymmetric_has_its_own_power_for_each_kind_and_spares_easy_negatives() -> None:
    logits, labels = torch.tensor([[0.0, 0.0], [0.0, -10.0]]), torch.tensor([[1, 0], [1, 0]])
    loss = losses.asymmetric(logits, labels, gamma_positive=2.0, gamma_negative=3.0, clip=0.1)
    positive = 0.5**2 * math.log(2)
    negative = 0.4**3 * -math.log(0.6)  # 0 for the second item, whose shifted probability is 0
    assert loss.item() == pytest.approx((2 * positive + negative) / 4, rel=1e-5)


@pytest.mark.parametrize("far", [-200.0, 200.0])
def test_asymmetric_of_extreme_logits_is_finite(far: float) -> None:
    logits, labels = torch.tensor([[far, -far]]), torch.tensor([[1, 0]])
    found = losses.asymmetric(logits, labels, clip=0.0).item()
    # The logarithm is taken of 1e-8 at least: 18.42 twice, or nothing.
    assert found == pytest.approx(-math.log(1e-8) if far < 0 else 0.0, rel=1e-5)


def test_distribution_balanced_weighs_rare_classes_up_by_hand() -> None:
    statistics = LabelStatistics(torch.tensor([20.0, 80.0, 100.0]), 100, torch.zeros(3, 3))
    logits = torch.tensor([[1.0, -0.5, 0.25], [0.0, 0.0, 0.0]])
    labels = torch.tensor([[1, 0, 1], [0, 0, 0]])
    how = {"alpha": 0.2, "beta": 5.0, "mu": 0.3, "negative_scale": 4.0, "kappa": 0.1}
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    # ν = κ log(N/n - 1): N/n - 1 is 4, 1/4, and 0, which counts as 1e-6.
    z = [1.0 - 0.1 * math.log(4), -0.5 - 0.1 * math.log(0.25), 0.25 - 0.1 * math.log(1e-6)]
    share = 1 / 20 + 1 / 100  # of the first item's positives
    r = [1 / 20 / share, 1 / 80 / share, 1 / 100 / share]
    weight = [0.2 + 1 / (1 + math.exp(-5 * (x - 0.3))) for x in r]
    costs = [softplus(-z[0]), softplus(4 * z[1]) / 4, softplus(-z[2])]
    first = sum(w * cost for w, cost in zip(weight, costs, strict=True))
    # Without a positive r is huge, so the weight is α + 1.
    nu = [0.1 * math.log(4), 0.1 * math.log(0.25), 0.1 * math.log(1e-6)]
    second = sum(1.2 * softplus(-4 * v) / 4 for v in nu)
    found = losses.distribution_balanced(logits, labels, statistics, **how).item()
    assert found == pytest.approx((first + second) / 6, rel=1e-5)


def test_what_is_not_said_of_distribution_balanced_is_the_papers() -> None:
    statistics = LabelStatistics(torch.tensor([20.0, 80.0]), 100, torch.zeros(2, 2))
    logits, labels = torch.tensor([[1.0, -0.5]]), torch.tensor([[1, 0]])
    said = losses.distribution_balanced(
        logits, labels, statistics, alpha=0.1, beta=10.0, mu=0.2, negative_scale=2.0, kappa=0.05
    )
    torch.testing.assert_close(losses.distribution_balanced(logits, labels, statistics), said)


def test_soft_cross_entropy_shares_a_target_out_evenly() -> None:
    logits = torch.tensor([[math.log(2), 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    labels = torch.tensor([[1, 1, 0], [0, 0, 1], [0, 0, 0]])
    # Probabilities 1/2, 1/4, 1/4: half of log 2 and half of log 4; then log 3; then nothing.
    expected = (1.5 * math.log(2) + math.log(3)) / 3
    assert losses.soft_cross_entropy(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_class_aware_hinge_pushes_labels_up_and_others_down() -> None:
    logits, labels = (
        torch.tensor([[0.25, 0.25, -0.5], [2.0, -2.0, -2.0]]),
        torch.tensor([[1, 0, 0]] * 2),
    )
    # Margins 16^-1/4 = 1/2, 1, 81^-1/4 = 1/3; weights by the square root of 16, 1, 81.
    weights = [1 / 4, 1.0, 1 / 9]
    costs = [0.5 - 0.25, 1 + 0.25, 0.0]  # the second item is right by more than every margin
    expected = sum(w * c for w, c in zip(weights, costs, strict=True)) / sum(weights) / 2
    found = losses.class_aware_hinge(logits, labels, STATISTICS, gamma=0.5)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_distillation_by_hand() -> None:
    teacher = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])  # 3/4 and 1/4
    student = torch.zeros(2, 2)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    found = losses.distillation(teacher, student).item()
    assert found == pytest.approx(divergence / 2, rel=1e-5)
