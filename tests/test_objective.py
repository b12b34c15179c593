"""What a step minimises: the learning rate over epochs, both losses, and the teacher's two terms."""

import numpy as np
import pytest
import torch
from conftest import CLASSES
from test_training import settings
from torch import nn

from clipworks.clip import scoring
from clipworks.clip.features import CaptionFeatures
from clipworks.tuning.losses import LabelStatistics, distillation, ranking
from clipworks.tuning.objective import Objective, learning_rate, update_teacher
from clipworks.tuning.params import Schedule
from clipworks.tuning.prompts import Prompts

UNUSED = LabelStatistics(torch.ones(6), 1, torch.zeros(6, 6))  # the ranking loss has no weights


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


def rates(warmup: str, epochs: int) -> list[float]:
    schedule = Schedule(
        lr=1.0, warmup=warmup, warmup_lr=0.2, warmup_epochs=3, decay="linear", epochs=5, stop=5
    )
    return [learning_rate(schedule, epoch) for epoch in range(epochs)]


def test_the_decay_begins_after_the_warm_up_if_there_is_one() -> None:
    assert rates("linear", 5) == pytest.approx([0.4, 0.6, 0.8, 1.0, 0.8])
    assert rates("constant", 5) == pytest.approx([0.2, 0.2, 0.2, 1.0, 0.8])
    assert rates("none", 5) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize("evidence", [False, True])
def test_logits_are_those_of_the_prompts_with_their_own_scales(encoded, clip, evidence) -> None:
    prompts = Prompts(clip, CLASSES, contexts=4, evidence=evidence)
    prompts.global_scale.data.fill_(3.0)
    prompts.spatial_scale.data.fill_(20.0)
    batch = CaptionFeatures(encoded).batch(np.array([7, 2]), torch.device("cpu"))
    both, local = Objective(clip.model, settings(), UNUSED).logits(prompts, batch)
    classes = prompts(clip.model)
    torch.testing.assert_close(both, 3.0 * batch.pooled @ classes["global"].T)
    for row in range(2):
        expected = scoring.local_logits(
            batch.parts[batch.item == row][None], classes["local"], classes.get("evidence"),
            scale=3.0, spatial_scale=20.0,
        )  # fmt: skip
        torch.testing.assert_close(local[row], expected[0], atol=1e-5, rtol=1e-4)


def test_the_loss_is_of_global_and_local_logits_plus_what_the_teacher_says(encoded, clip) -> None:
    chosen = settings(ema_global_weight=3.0, ema_local_weight=7.0)
    student = Prompts(clip, CLASSES, contexts=4, evidence=True)
    teacher = Prompts(clip, CLASSES, contexts=4, evidence=True, seed=1)
    for prompts in (student, teacher):  # far enough apart for the KL terms to count
        prompts.contexts.requires_grad_(False)
        for context in prompts.contexts.values():
            context.mul_(20)
    batch = CaptionFeatures(encoded).batch(np.array([7, 2, 30]), torch.device("cpu"))
    labels = torch.tensor([[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]])
    goal = Objective(clip.model, chosen, UNUSED)
    (both, local), (old_both, old_local) = goal.logits(student, batch), goal.logits(teacher, batch)
    alone = ranking(both, labels) + ranking(local, labels)
    taught = 3 * distillation(old_both, both) + 7 * distillation(old_local, local)
    torch.testing.assert_close(goal(student, None, batch, labels), alone)
    torch.testing.assert_close(goal(student, teacher, batch, labels), alone + taught)
    assert distillation(old_both, both) > 1e-4 and distillation(old_local, local) > 1e-4


def test_the_teacher_moves_by_what_momentum_leaves() -> None:
    teacher, student = nn.Linear(1, 1), nn.Linear(1, 1)
    for parameter in teacher.parameters():
        parameter.data.fill_(1.0)
    for parameter in student.parameters():
        parameter.data.fill_(2.0)
    update_teacher(teacher, student, 0.75)
    assert teacher.weight.item() == 1.25 and student.weight.item() == 2.0
