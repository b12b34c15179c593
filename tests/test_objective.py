"""The learning rate over epochs."""

import numpy as np
import pytest

from clipworks.tuning.objective import learning_rate
from clipworks.tuning.params import Schedule


@pytest.mark.parametrize(
    ("warmup", "decay", "expected"),
    [
        ("none", "constant", [1.0, 1.0, 1.0, 1.0]),
        ("constant", "constant", [0.1, 1.0, 1.0, 1.0]),
        ("constant", "cosine", [0.1, 1.0, 0.5 + 0.5 * np.cos(np.pi / 4), 0.5]),
        ("linear", "constant", [0.55, 1.0, 1.0, 1.0]),
        ("none", "linear", [1.0, 0.75, 0.5, 0.25]),
        (
            "none",
            "cosine",
            [1.0, 0.5 + 0.5 * np.cos(np.pi / 4), 0.5, 0.5 + 0.5 * np.cos(3 * np.pi / 4)],
        ),
    ],
)
def test_learning_rates_by_hand(warmup: str, decay: str, expected: list[float]) -> None:
    schedule = Schedule(
        lr=1.0, warmup=warmup, warmup_lr=0.1, warmup_epochs=1, decay=decay, epochs=4, stop=4
    )
    assert [learning_rate(schedule, epoch) for epoch in range(4)] == pytest.approx(expected)
