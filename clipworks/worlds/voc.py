"""PASCAL VOC 2007 in its own layout: ImageSets/Main/SPLIT.txt, and CLASS_SPLIT.txt for each class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipworks.kit.errors import InputError
from clipworks.kit.files import read_text

# -1 not shown, 1 shown, 0 shown but "difficult": the devkit leaves these images out of the class's AP,
# many papers (TaI-DPT among them) take them for negatives.
VALUES = {"-1": 0, "1": 1}


def read(
    listed: Path, folder: Path, class_names: Sequence[str], *, difficult: str
) -> tuple[list[str], np.ndarray]:
    """Files and labels of a split.

    Args:
        listed: ImageSets/Main/test.txt or trainval.txt.
        folder: of the classes' files: ImageSets/Main.
        difficult: "negative" or "ignored".

    Raises:
        InputError: a class has no file, one that says nothing of an image, or a line of another form.
    """
    row: dict[str, int] = {}
    for number, line in enumerate(read_text(listed).splitlines(), 1):
        name = line.strip()
        if len(line.split()) > 1 or name.endswith(".jpg") or "/" in name:
            raise InputError(
                f"{listed}, line {number}: {line!r}; a list of VOC's has an image's name alone, such as 000001"
            )
        if name in row:
            raise InputError(f"{listed}, line {number}: {name!r} stands there twice")
        if name:
            row[name] = len(row)
    names = list(row)
    labels = np.zeros((len(names), len(class_names)), np.int8)
    values = {**VALUES, "0": -1 if difficult == "ignored" else 0}
    for column, name in enumerate(class_names):
        path = folder / f"{name.replace(' ', '')}_{listed.stem}.txt"
        if not path.exists():
            known = sorted({p.name.rpartition("_")[0] for p in folder.glob(f"*_{listed.stem}.txt")})
            if not known:
                raise InputError(
                    f"{folder} has no CLASS_{listed.stem}.txt for {listed}; give VOC2007/ImageSets/Main "
                    "(world.files.label_folder), and test.txt or trainval.txt in it"
                )
            raise InputError(f"{path} does not exist, so VOC has no class {name!r}; it has {known}")
        told: set[str] = set()
        for number, line in enumerate(read_text(path).splitlines(), 1):
            parts = line.split()
            if len(parts) == 2 and parts[0] not in row:
                raise InputError(f"{path}, line {number}: {parts[0]!r} is no image of {listed}")
            if len(parts) != 2 or parts[1] not in values:
                raise InputError(
                    f"{path}, line {number}: {line!r}; it must be IMAGE and -1, 0 or 1"
                )
            if parts[0] in told:
                raise InputError(f"{path}, line {number}: {parts[0]!r} stands there twice")
            told.add(parts[0])
            labels[row[parts[0]], column] = values[parts[1]]
        if left := [name for name in names if name not in told]:
            raise InputError(
                f"{path} says nothing of {len(left)} images of {listed.name}: {', '.join(left[:5])}; it must "
                "have a line for each"
            )
    return [f"{name}.jpg" for name in names], labels
