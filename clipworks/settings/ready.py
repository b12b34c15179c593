"""Settings that ship ready: files of keys that are put into params.yaml, all or none."""

import difflib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clipworks.kit.errors import InputError
from clipworks.kit.files import read_text, read_yaml
from clipworks.kit.params import PARAMS
from clipworks.settings.whole import load

FOLDER = Path("data/settings")
# Tables whose keys are the user's: taken whole. Of entries that are sections, single keys of those that
# are there may be given.
FREE = ("ensemble.local_weight", "ensemble.variance", "ensemble.weights", "ensemble.sharpen")
WHOLE = " taken whole, what is not named goes"
ENTRIES = ("finetune", "search.rows", "model", "probabilities")


def apply(
    file: Path, params: Path = PARAMS, *, check: Callable[[Path], object] = load
) -> list[str]:
    """Put a file's keys into params.yaml, whose comments and order stay.

    Args:
        check: reads the whole file, and refuses it.

    Returns:
        what changed, "key: old -> new".

    Raises:
        InputError: a key that params.yaml has not, or values that it does not allow; nothing is written.
    """
    if not file.is_file():
        known = ", ".join(str(path) for path in sorted(FOLDER.glob("*.yaml")))
        hint = f"shipped are {known}" if known else "run this where params.yaml lies"
        what = f"{file} is a folder" if file.is_dir() else f"there is no file {file}"
        raise InputError(f"{what}; {hint}")
    if not params.is_file():
        raise InputError(
            f"there is no {params} here; run this in the project's folder or a sibling's"
        )
    wanted = read_yaml(file)
    if not isinstance(wanted, dict):
        raise InputError(f"{file} holds no sections")
    from dvc.utils.serialize import (  # DVC's own writer
        YAMLFileCorruptedError,
        dump_yaml,
        parse_yaml_for_update,
    )

    content = parse_yaml_for_update(read_text(params), str(params))
    if not isinstance(content, dict):
        raise InputError(f"{params}: holds no sections")
    try:
        wanted = parse_yaml_for_update(
            read_text(file), str(file)
        )  # as DVC reads numbers: 1e-3 is one
    except YAMLFileCorruptedError as error:
        raise InputError(f"{file}: no YAML that DVC reads ({error.__cause__ or error})") from None
    changes = list(_merge(content, wanted, "", str(file)))
    target = params.resolve()  # it may be a link
    # params.yaml is the user's: whole, or as it was.
    draft = target.with_name(f".{target.name}.tmp")
    try:
        dump_yaml(str(draft), content)
        check(draft)
        shutil.copymode(target, draft)
        draft.replace(target)
    except OSError as error:
        raise InputError(f"{params} cannot be written: {error.strerror}") from None
    except InputError as error:
        whole = [change.partition(":")[0] for change in changes if change.endswith(WHOLE)]
        told = f" ({', '.join(whole)}:{WHOLE})" if whole else ""
        why = str(error).replace(str(draft), str(params))
        raise InputError(f"{file}, put into {why}{told}") from None
    finally:
        draft.unlink(missing_ok=True)
    return changes


def _merge(content: Any, wanted: dict[str, Any], prefix: str, file: str) -> Any:
    for key, value in wanted.items():
        where = f"{prefix}{key}"
        if key not in content:
            raise InputError(f"{file}: {where} is no key of params.yaml{_meant(str(key), content)}")
        table = isinstance(value, dict) and isinstance(content[key], dict)
        entries = table and where in ENTRIES  # of which some may be new
        whole = where in FREE or (entries and not value.keys() <= content[key].keys())
        if table and not whole:
            yield from _merge(content[key], value, f"{where}.", file)
        elif content[key] != value:
            old, new = (list(v) if entries else v for v in (content[key], value))
            yield f"{where}: {_plain(old)} -> {_plain(new)}{WHOLE if table else ''}"
            if value and isinstance(value, list) and isinstance(content[key], list):
                content[key][:] = list(
                    value
                )  # written as it was: its comment stands where lines begin
            else:
                content[key] = value
                if value == []:  # which has no lines for a comment to stand before
                    content.ca.items.pop(key, None)


def _meant(key: str, content: Any) -> str:
    if key.partition(".")[0] in content:
        return "; write sections and their keys on lines of their own, as params.yaml does"
    near = difflib.get_close_matches(key, [str(known) for known in content], 1)
    return f"; there are {sorted(content)}" + (f"; did you mean {near[0]!r}?" if near else "")


def _plain(value: Any) -> str:
    text = str(list(value) if isinstance(value, list) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
