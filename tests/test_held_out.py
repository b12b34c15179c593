"""Which captions are held out: the share that was asked for, kin together, the same every time."""

import numpy as np

from clipworks.tuning.captions import generated, held_out


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
