"""Which captions are held out: the share that was asked for, kin together, the same every time."""

import numpy as np
import torch
from conftest import CLASSES

from clipworks.clip import scoring
from clipworks.clip.features import CaptionFeatures
from clipworks.tuning import heldout
from clipworks.tuning.captions import CaptionTable, Row, generated, held_out
from clipworks.tuning.prompts import Prompts


def test_the_share_is_the_one_asked_for() -> None:
    keys = [f"class {i}|class {i + 1}" for i in range(4000)]
    for share in (0.05, 0.15, 0.4):
        assert abs(np.mean([held_out(key, share) for key in keys]) - share) < 0.02


def test_captions_of_one_combination_stay_on_one_side() -> None:
    rows = [
        {"caption": f"sentence {n}", "source": "multi", "names": names, "labels": [0, 1]}
        for n, names in enumerate([["dog", "cat"], ["cat", "dog"], ["dog", "cat"]] * 5)
    ]
    assert len({row.held_out for row in generated(rows, 0.5)}) == 1


def test_a_larger_share_holds_out_all_that_a_smaller_one_does() -> None:
    keys = [str(i) for i in range(500)]
    small = {key for key in keys if held_out(key, 0.1)}
    assert small <= {key for key in keys if held_out(key, 0.3)}


def test_a_caption_is_held_out_by_its_sha256() -> None:
    # The first 64 bits of sha256("cat|dog"), as a share of all, are 0.25237.
    assert held_out("cat|dog", 0.2524) and not held_out("cat|dog", 0.2523)


def test_captions_of_a_single_class_are_split_one_by_one() -> None:
    rows = [
        {"caption": f"dog {n}", "source": "single", "names": ["dog"], "labels": [3]}
        for n in range(40)
    ]
    found = list(generated(rows, 0.5))
    assert {row.held_out for row in found} == {True, False}
    assert found == [Row(f"dog {n}", "single", (3,), held_out(f"dog {n}", 0.5)) for n in range(40)]
    pair = {"caption": "a dog and a cat", "source": "multi", "names": ["dog", "cat"], "labels": []}
    assert [row.held_out for row in generated([pair], 0.26)] == [True]  # as "cat|dog"
    assert [row.held_out for row in generated([pair], 0.25)] == [False]


@torch.no_grad()
def test_captions_are_judged_by_global_plus_local_logits(encoded, clip, monkeypatch) -> None:
    features = CaptionFeatures(encoded)
    texts = np.array([5, 0, 77, 3, 9])
    for evidence in (False, True):
        classes = Prompts(clip, CLASSES, contexts=4, evidence=evidence)(clip.model)
        together = heldout.logits(classes, features, texts, scale=3.0, spatial_scale=20.0)
        for row, index in enumerate(texts):
            one = features.batch(np.array([index]), torch.device("cpu"))
            both = scoring.global_logits(one.pooled, classes["global"], 3.0)
            local = scoring.local_logits(
                one.parts[None], classes["local"], classes.get("evidence"), scale=3.0,
                spatial_scale=20.0,
            )  # fmt: skip
            np.testing.assert_allclose(together[row], (both + local)[0], atol=1e-5, rtol=1e-4)
    sizes, real = [], features.batch

    def noted(part, device):
        sizes.append(len(part))
        return real(part, device)

    monkeypatch.setattr(heldout, "BATCH", 2)
    monkeypatch.setattr(features, "batch", noted)
    apart = heldout.logits(classes, features, texts, scale=3.0, spatial_scale=20.0)
    np.testing.assert_allclose(apart, together, atol=1e-6)
    assert sizes == [2, 2, 1]


def test_held_out_ap_is_of_the_captions_that_were_selected(encoded) -> None:
    table = CaptionTable(encoded / "captions.parquet", [*CLASSES, "unicorn"])
    selected = np.array([3, 8, 50, 51, 52])
    labels = table.labels(selected)
    found = heldout.class_ap(labels.astype(float), table, selected)
    assert found[labels.any(axis=0)].tolist() == [1.0] * int(labels.any(axis=0).sum())
    assert np.isnan(found[-1])
