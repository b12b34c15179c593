"""Logits: packed equals padded, and small cases by hand."""

import torch
from torch.nn import functional as F

from clipworks.clip import scoring


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_packed_captions_score_as_each_caption_alone() -> None:
    local, evidence = unit(5, 16, seed=1), unit(5, 16, seed=2)
    texts = [unit(1, length, 16, seed=length) for length in (3, 9, 1, 5)]
    parts = torch.cat([text[0] for text in texts])
    item = torch.repeat_interleave(torch.arange(4), torch.tensor([3, 9, 1, 5]))
    for chosen in (None, evidence):
        packed = scoring.packed_local_logits(parts, item, 4, local, chosen)
        alone = torch.cat([scoring.local_logits(text, local, chosen) for text in texts])
        torch.testing.assert_close(packed, alone)


def test_local_logits_follow_the_formula() -> None:
    # Two parts, two classes, orthogonal: each class sits in a part of its own.
    parts = torch.eye(2)[None]
    weight = torch.tensor([1.0, 0.0]).mul(50).softmax(0)[0]
    expected = 4.0 * torch.stack([weight, weight])[None]
    torch.testing.assert_close(scoring.local_logits(parts, torch.eye(2), None), expected)


def test_winner_takes_all_lets_a_part_speak_for_its_best_class() -> None:
    similarity = torch.tensor([[0.5, 0.4]])
    weights = (50 * similarity * 1.5).softmax(-1)
    torch.testing.assert_close(scoring.winner_takes_all(similarity, 50.0), similarity * weights)
    assert weights[0, 0] > 0.999


def test_a_very_unlike_caption_does_not_make_the_softmax_fail() -> None:
    local = unit(3, 8, seed=1)
    parts = -local[:1].repeat(4, 1)
    logits = scoring.packed_local_logits(parts, torch.zeros(4, dtype=torch.long), 1, local, local)
    assert torch.isfinite(logits).all()


def test_global_logits_are_scaled_cosines() -> None:
    features = torch.tensor([[0.6, 0.8]])
    found = scoring.global_logits(features, torch.eye(2), 4.0)
    torch.testing.assert_close(found, torch.tensor([[2.4, 3.2]]))


def test_the_scales_are_those_of_the_published_method() -> None:
    assert (scoring.GLOBAL_SCALE, scoring.SPATIAL_SCALE) == (4.0, 50.0)
