"""Hard classes: chosen by how badly hand prompts tell them apart on held-out captions."""

from collections.abc import Sequence

import numpy as np

GROUPS = ("diff", "diffh", "difft")


def groups(class_names: Sequence[str], ap: np.ndarray, *, size: int) -> dict[str, list[str]]:
    """The 3 · size classes of lowest AP, dealt in turn, so that each group has some of the hardest.

    Args:
        ap: held-out AP of each class; classes without held-out captions (nan) are not chosen.

    Raises:
        ValueError: there are fewer classes than the groups need.
    """
    ranked = [i for i in np.argsort(ap, kind="stable") if not np.isnan(ap[i])]
    if len(ranked) < len(GROUPS) * size:
        raise ValueError(
            f"hard_groups.size {size}: {len(GROUPS)} groups need {len(GROUPS) * size} classes with "
            f"held-out captions, there are {len(ranked)}; make it smaller"
        )
    return {
        group: [class_names[i] for i in ranked[k : len(GROUPS) * size : len(GROUPS)]]
        for k, group in enumerate(GROUPS)
    }


def check(fixed: dict[str, list[str]], class_names: Sequence[str]) -> dict[str, list[str]]:
    """Given groups, refused where they name an unknown class or lack a group."""
    if missing := [group for group in GROUPS if group not in fixed]:
        raise ValueError(f"hard_groups.fixed: no group {missing}; it needs {list(GROUPS)}")
    unknown = sorted({name for names in fixed.values() for name in names} - set(class_names))
    if unknown:
        raise ValueError(f"hard_groups.fixed: {unknown} are not in the class list")
    return fixed
