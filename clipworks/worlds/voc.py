"""PASCAL VOC 2007 in its own layout: ImageSets/Main/SPLIT.txt and a file for each class beside it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipworks.kit.errors import InputError
from clipworks.kit.files import read_text

# -1 not shown, 1 shown, 0 shown but "difficult": the devkit leaves these images out of the class's AP,
# many papers (TaI-DPT among them) take them for negatives.
VALUES = {"-1": 0, "1": 1}


def read(
    listed: Path, class_names: Sequence[str], *, difficult: str
) -> tuple[list[str], np.ndarray]:
    """Files and labels of a split.

    Args:
        listed: ImageSets/Main/test.txt or trainval.txt.
        difficult: "negative" or "ignored".

    Raises:
        InputError: a class has no file, or a line is of another form.
    """
    names = [line.strip() for line in read_text(listed).splitlines() if line.strip()]
    row = {name: number for number, name in enumerate(names)}
    labels = np.zeros((len(names), len(class_names)), np.int8)
    values = {**VALUES, "0": -1 if difficult == "ignored" else 0}
    for column, name in enumerate(class_names):
        path = listed.with_name(f"{name.replace(' ', '')}_{listed.stem}.txt")
        if not path.exists():
            known = sorted(
                {p.name.rpartition("_")[0] for p in listed.parent.glob(f"*_{listed.stem}.txt")}
            )
            if not known:
                raise InputError(
                    f"{listed}: no CLASS_{listed.stem}.txt lies beside it; give VOC2007/ImageSets/Main/test.txt "
                    "(or trainval.txt) where it lies"
                )
            raise InputError(f"{path} does not exist, so VOC has no class {name!r}; it has {known}")
        for number, line in enumerate(read_text(path).splitlines(), 1):
            parts = line.split()
            if len(parts) == 2 and parts[0] not in row:
                raise InputError(f"{path}, line {number}: {parts[0]!r} is no image of {listed}")
            if len(parts) != 2 or parts[1] not in values:
                raise InputError(
                    f"{path}, line {number}: {line!r}; it must be IMAGE and -1, 0 or 1"
                )
            labels[row[parts[0]], column] = values[parts[1]]
    return [f"{name}.jpg" for name in names], labels
