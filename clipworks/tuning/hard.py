"""Hard classes: chosen by how badly hand prompts tell them apart on held-out captions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipworks.kit.classes import read_lists
from clipworks.kit.errors import InputError

GROUPS = ("diff", "diffh", "difft")


def groups(class_names: Sequence[str], ap: np.ndarray, *, size: int) -> dict[str, list[str]]:
    """The 3 · size classes of lowest AP, dealt in turn, so that each group has some of the hardest.

    Args:
        ap: held-out AP of each class; classes without held-out captions (nan) are not chosen.

    Raises:
        InputError: there are fewer classes than the groups need.
    """
    ranked = [i for i in np.argsort(ap, kind="stable") if not np.isnan(ap[i])]
    if len(ranked) < len(GROUPS) * size:
        raise InputError(
            f"hard_groups.size {size}: {len(GROUPS)} groups need {len(GROUPS) * size} classes with "
            f"held-out captions, there are {len(ranked)}; make it smaller"
        )
    return {
        group: [class_names[i] for i in ranked[k : len(GROUPS) * size : len(GROUPS)]]
        for k, group in enumerate(GROUPS)
    }


def read(path: Path, class_names: Sequence[str]) -> dict[str, list[str]]:
    """Fixed groups from the part "groups" of a YAML file.

    Raises:
        InputError: the file is missing, or a group names an unknown class or is missing.
    """
    fixed = read_lists(path, "groups", class_names, key="hard_groups.fixed")
    if missing := [group for group in GROUPS if group not in fixed]:
        raise InputError(
            f"hard_groups.fixed: {path} has no group {missing}; it needs {list(GROUPS)}"
        )
    return fixed
