"""The reference of params.yaml: every key with its type, its shipped value and what it reruns.

Generated from the typed models, the comments in params.yaml and dvc.yaml, so that it cannot drift.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from clipworks.kit.files import read_text, read_yaml
from clipworks.kit.params import MODELS, load_whole
from clipworks.settings.whole import Params

INTRO = """# params.yaml, key by key

Written by `clipworks reference --write docs/params.md`; a test fails when it is stale. *reruns* names
the stages that depend on the key (`check`, which takes a second, always runs); DVC goes on from
there only as far as outputs change. The models share their keys: each of MODELS has those of
`train.MODEL`, shown with base's values.
"""


def reference(params: Path = Path("params.yaml"), pipeline: Path = Path("dvc.yaml")) -> str:
    """The reference as Markdown."""
    load_whole(Params, params)  # which says what is wrong with it
    values, comments = read_yaml(params), _comments(read_text(params))
    stages = read_yaml(pipeline)["stages"]
    named = [f"`train.{model}`" for model in MODELS]
    lines = [INTRO.replace("MODELS", f"{', '.join(named[:-1])} and {named[-1]}")]
    section = ""
    for key, kind in _leaves(Params, ""):
        if key.startswith("train.") and not key.startswith("train.base."):
            continue
        if key.split(".")[0] != section:
            section = key.split(".")[0]
            about = comments.get(section, "")
            lines += [f"\n## {section}\n", f"{about}\n" if about else "", "| key | allowed | shipped | reruns | |", "|---|---|---|---|---|"]  # fmt: skip
        value = _value(values, key)
        shown = key.replace("train.base.", "train.MODEL.")
        reruns = ", ".join(s for s in reads(stages, key, values) if s != "check") or "nothing"
        if re.match(r"chat\.(transformers|openai|replay)\.", key) and not key.endswith(
            "replay.folder"
        ):
            reruns = (
                f"{reruns}; with this engine {', '.join(reads(stages, 'chat.engine', values)[1:])}"
            )
        every = ", ".join(f"train@{model}" for model in MODELS)
        reruns = reruns.replace(every, "train (all)")
        reruns = reruns.replace("train@base", "train@MODEL").replace(
            "infer@crops, infer@maps", "infer"
        )
        cells = (f"`{shown}`", kind, f"`{value}`", reruns, comments.get(key, ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(line for line in lines if line != "") + "\n"


def graph(pipeline: Path = Path("dvc.yaml")) -> str:
    """The stages as a Mermaid flow chart: an arrow where one reads another's outputs."""
    stages = read_yaml(pipeline)["stages"]
    made = {
        str(out if isinstance(out, str) else next(iter(out))).split("/$")[0]: name
        for name, stage in stages.items()
        for out in stage.get("do", stage)["outs"]
    }
    lines = ["```mermaid", "flowchart TD"]
    for name, stage in stages.items():
        deps = stage.get("do", stage)["deps"]
        needed = [
            maker
            for out, maker in made.items()
            if maker != name and any(_within(dep, out) or _within(out, dep) for dep in deps)
        ]
        lines += [f"    {maker} --> {name}" for maker in dict.fromkeys(needed)]
    return "\n".join([*lines, "```"]) + "\n"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def reads(stages: dict[str, Any], key: str, values: dict[str, Any]) -> list[str]:
    """The stages that depend on a key of params.yaml: by `params`, by a templated path or command.

    Args:
        values: params.yaml itself, for stages that are repeated for each entry of a key.
    """
    found = []
    for name, stage in stages.items():
        for item, body in _instances(name, stage, values):
            text = str(body.get("cmd", "")) + " ".join(map(str, body.get("deps", [])))
            listed = [entry for entry in body.get("params", []) if isinstance(entry, str)]
            if any(key == entry or key.startswith(entry + ".") for entry in listed) or (
                f"${{{key}}}" in text or "params.yaml" in body.get("deps", [])
            ):
                found.append(item)
    return found


def _instances(
    name: str, stage: dict[str, Any], values: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    if "foreach" not in stage:
        yield name, stage
        return
    repeated = stage["foreach"]
    if isinstance(repeated, str):  # "${section.key}": a list
        repeated = {entry: entry for entry in _value(values, repeated[2:-1])}
    for key, item in repeated.items():
        text = repr(stage["do"]).replace("${key}", key).replace("${item}", str(item))
        yield f"{name}@{key}", _literal(text)


def _literal(text: str) -> dict[str, Any]:
    import ast

    found: dict[str, Any] = ast.literal_eval(text)
    return found


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """(dotted key, what is allowed) of every leaf."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        else:
            limits = [str(m) for m in field.metadata if _is_bound(m)]
            yield f"{prefix}{name}", _kind(kind, limits)


def _kind(kind: Any, limits: list[str] | None = None) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        marks = [m for one in inner[1:] for m in getattr(one, "metadata", [one])]  # of a Field
        return _kind(inner[0], [str(m) for m in marks if _is_bound(m)])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is list:
        return f"list of {_kind(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(map(_kind, inner))}]"
    if origin is dict:
        return f"{{{_kind(inner[0])}: {_kind(inner[1])}}}"
    name = {"str": "text", "float": "number", "int": "whole number", "bool": "true, false"}
    found = name.get(getattr(kind, "__name__", ""), str(kind))
    return f"{found} {' and '.join(map(_bounds, limits))}" if limits else found


def _is_bound(value: Any) -> bool:
    return any(hasattr(value, sign) for sign in ("ge", "gt", "le", "lt"))


def _bounds(text: str) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    parts = [
        f"{signs[k]} {v}" for k, v in re.findall(r"\b(ge|gt|le|lt)=(-?[\d.]+(?:e[-+]?\d+)?)", text)
    ]
    return ", ".join(part.removesuffix(".0") for part in parts)


def _comments(text: str) -> dict[str, str]:
    """The comment behind each key, by dotted key."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.match(r"^( *)([A-Za-z_]\w*):(.*)$", line)
        if not match:
            continue
        indent = len(match[1])
        path = [part for part in path if part[0] < indent] + [(indent, match[2])]
        if comment := re.search(r"\s#\s*(.*)$", match[3]):
            found[".".join(name for _, name in path)] = comment[1].strip()
    return found


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def leaves() -> list[str]:
    """Every dotted key of params.yaml, all models included."""
    return [key for key, _ in _leaves(Params, "")]
