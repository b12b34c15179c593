"""Things that go with rare classes and are no classes themselves, as toast with a toaster."""

from pathlib import Path

from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE, read_yaml


def read_companions(path: str) -> dict[str, list[str]]:
    """A YAML file of class -> things that go with it and are no class; {} for data/none."""
    if Path(path) == NONE:
        return {}
    content = read_yaml(Path(path), key="encode_captions.companions")
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise InputError(
            f"encode_captions.companions: {path}: allowed is 'class: [thing, ...]' on every line"
        )
    return {str(name): [str(thing) for thing in things] for name, things in content.items()}
