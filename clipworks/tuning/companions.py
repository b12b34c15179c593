"""Things that go with rare classes and are no classes themselves, as toast with a toaster."""

from collections.abc import Sequence
from pathlib import Path

from clipworks.kit.classes import folded
from clipworks.kit.errors import InputError
from clipworks.kit.files import NONE, read_yaml


def read_companions(path: str, class_names: Sequence[str]) -> dict[str, list[str]]:
    """A YAML file of class -> things that go with it and are no class; {} for data/none.

    Raises:
        InputError: it has another form, names what is no class, or a class as a thing.
    """
    if Path(path) == NONE:
        return {}
    content = read_yaml(Path(path), key="encode_captions.companions")
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise InputError(
            f"encode_captions.companions: {path}: allowed is 'class: [thing, ...]' on every line"
        )
    said = [*content, *(thing for things in content.values() for thing in things)]
    if odd := [word for word in said if not isinstance(word, str) or not word.strip()]:
        raise InputError(
            f"encode_captions.companions: {path}: {odd} are no words; put them in quotes, as 'no', or take them out"
        )
    found: dict[str, list[str]] = content
    low = [folded(name) for name in found]
    if twice := sorted({name for name in found if low.count(folded(name)) > 1}):
        raise InputError(
            f"encode_captions.companions: {path}: {twice} are one class; put its things together"
        )
    own = {folded(name): name for name in class_names}
    if unknown := [name for name in found if folded(name) not in own]:
        raise InputError(
            f"encode_captions.companions: {path}: {unknown} are no classes of the list; things stand with classes"
        )
    if shown := [thing for things in found.values() for thing in things if folded(thing) in own]:
        raise InputError(
            f"encode_captions.companions: {path}: {shown} are classes themselves, and captions of them would "
            "not be labelled so; take them out"
        )
    return {own[folded(name)]: things for name, things in found.items()}
