"""NUS-WIDE in its own layout: ImageList/TestImagelist.txt, and Labels_X_Test.txt in Groundtruth/TrainTestLabels.

Published figures are of at least five splits and do not compare; the list file says which is taken.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipworks.kit.errors import InputError
from clipworks.kit.files import read_text

SPLITS = {"TestImagelist": "Test", "TrainImagelist": "Train"}


def read(listed: Path, folder: Path, class_names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Files and labels of a split.

    Args:
        listed: TestImagelist.txt or TrainImagelist.txt.
        folder: of the classes' files: Groundtruth/TrainTestLabels.

    Raises:
        InputError: another list, a class without a file, or one of another length.
    """
    if listed.stem not in SPLITS:
        raise InputError(f"{listed}: NUS-WIDE's lists are {[f'{name}.txt' for name in SPLITS]}")
    # Folders are written as on Windows: actor\\0001_2124494179.jpg
    images = [
        line.strip().replace("\\", "/") for line in read_text(listed).splitlines() if line.strip()
    ]
    labels = np.zeros((len(images), len(class_names)), np.int8)
    for column, name in enumerate(class_names):
        path = folder / f"Labels_{name}_{SPLITS[listed.stem]}.txt"
        if not path.exists():
            raise InputError(f"{path} does not exist, so NUS-WIDE has no class {name!r} here")
        values = read_text(path).split()
        if len(values) != len(images):
            raise InputError(
                f"{path}: {len(values)} values for {len(images)} images of {listed.name}; it must hold "
                "0 or 1 for each"
            )
        if odd := next((i for i, value in enumerate(values, 1) if value not in ("0", "1")), 0):
            raise InputError(f"{path}, value {odd}: {values[odd - 1]!r}; it must be 0 or 1")
        labels[:, column] = [value == "1" for value in values]
    return images, labels
