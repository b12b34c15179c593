"""Published CLIP weights: by open_clip's names, or from a checkpoint file. Refusals come first."""

import difflib
import os
import socket
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zipfile import ZipFile, is_zipfile

from safetensors import SafetensorError, safe_open
from torch import nn

import clipworks.kit.torchvision_ops  # noqa: F401  (before open_clip)
from clipworks.clip import backbone
from clipworks.clip.backbone import CONFIG, Backbone, read_config
from clipworks.kit.errors import InputError

import open_clip  # isort: skip
from open_clip.pretrained import get_pretrained_cfg  # isort: skip

Activation = Literal["auto", "gelu", "quick_gelu"]
PATIENCE = 10  # seconds that a weights server may take to answer at all


def check(
    name: str, tag: str, checkpoint: Path | None, activation: Activation, key: str = "backbone"
) -> bool:
    """Whether these weights can be had and prompts be tuned on them, before a byte is downloaded.

    Args:
        name: a model name of open_clip, such as "RN50".
        tag: a pretrained tag of that model, such as "openai".
        checkpoint: a file of weights to take instead of the tag's.
        key: the section of params.yaml that names them, for messages.

    Returns:
        whether the towers use QuickGELU.

    Raises:
        InputError: no such model or tag, a text tower of another kind, or a checkpoint that is
            unsafe or does not tell its activation.
    """
    models = open_clip.list_models()
    if name not in models:
        close = difflib.get_close_matches(name, models, 3, cutoff=0.5)
        known = f"close names: {close}" if close else "`open_clip.list_models()` gives all"
        raise InputError(f"{key}.model: open_clip has no model {name!r}; {known}")
    config = open_clip.get_model_config(name) or {}
    _check_text(name, config, key)
    named = bool(config.get("quick_gelu"))
    if checkpoint is not None:
        return _check_file(checkpoint, named, activation, key)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise InputError(f"{key}.pretrained: {tag!r} is no tag of {name}; tags: {tags}")
    return _chosen(activation, named or bool(get_pretrained_cfg(name, tag).get("quick_gelu")))


def _check_file(path: Path, named: bool, activation: Activation, key: str) -> bool:
    if not path.is_file():
        raise InputError(f"{key}.checkpoint: {path} is no file; data/none stands for no file")
    if is_zipfile(path) and any("/code/" in entry for entry in ZipFile(path).namelist()):
        raise InputError(
            f"{key}.checkpoint: {path} is a TorchScript archive, which can hold code; save its "
            "state dict as safetensors once, on a machine where you trust it, and give that file"
        )
    beside = _beside(path)
    if not is_zipfile(path) and not _is_safetensors(path) and not _is_pickle(path):
        raise InputError(
            f"{key}.checkpoint: {path} is no whole file of weights; give safetensors or a state dict of PyTorch"
        )
    said = {} if beside is None else beside["model_cfg"]
    # A whole config that does not name it means GELU, as open_clip writes them.
    quick = bool(said.get("quick_gelu")) if {"quick_gelu", "text_cfg"} & set(said) else None
    return _chosen(activation, (named or None) if quick is None else quick or named, path, key)


def _is_safetensors(path: Path) -> bool:
    try:
        with safe_open(str(path), framework="pt"):
            return True
    except SafetensorError:
        return False


def _is_pickle(path: Path) -> bool:
    """PyTorch's form before 1.6; it is loaded as weights alone, or not at all."""
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def check_dense(name: str) -> None:
    """Raises InputError for a model of open_clip whose tower is timm's: only its own are known inside."""
    vision = (open_clip.get_model_config(name) or {}).get("vision_cfg", {})
    if "timm_model_name" in vision:
        raise InputError(
            f"backbone.model: {name} has the visual tower {vision['timm_model_name']} of timm, whose "
            "dense features are not known; choose a model such as RN50, ViT-B-16 or ViT-L-14"
        )


def _chosen(
    activation: Activation, known: bool | None, path: Path | None = None, key: str = ""
) -> bool:
    if activation != "auto":
        return activation == "quick_gelu"
    if known is None:
        chosen = f"set {key}.activation to quick_gelu (OpenAI's own weights) or gelu, "
        chosen = "" if key.startswith("model ") else chosen  # the command line has no such option
        raise InputError(
            f"{key}.checkpoint: {path} does not say which activation it was trained with (a wrong "
            f"one ruins features silently); {chosen}put its {CONFIG} beside it (for GELU, as open_clip trains, "
            '{"model_cfg": {"quick_gelu": false}} is enough), or name a model such as RN50-quickgelu if that is '
            "what it was trained as"
        )
    return known


def _beside(path: Path) -> dict[str, Any] | None:
    """The open_clip config beside a checkpoint, or a part of one; None where there is none. A null says
    nothing."""
    config = path.parent / CONFIG
    if not config.exists():
        return None
    found = read_config(config, whole=False)
    found = {key: _said(found[key]) for key in ("model_cfg", "preprocess_cfg")}
    quick = found["model_cfg"].get("quick_gelu", False)
    if not isinstance(quick, bool):
        raise InputError(f"{config}: model_cfg.quick_gelu is {quick!r}; it must be true or false")
    return found


def _said(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if value is not None}


def resize_mode(name: str, tag: str, checkpoint: Path | None) -> str:
    """How a CLIP's pictures are resized ("shortest" where nobody says), known without its weights."""
    if checkpoint is None:
        return str(get_pretrained_cfg(name, tag).get("resize_mode") or "shortest")
    return str((_beside(checkpoint) or {}).get("preprocess_cfg", {}).get("resize_mode", "shortest"))


def _check_text(name: str, config: dict[str, Any], key: str) -> None:
    text = config.get("text_cfg", {})
    odd = next((k for k in ("hf_model_name", "hf_tokenizer_name") if k in text), None)
    if odd or text.get("no_causal_mask") or text.get("embed_cls") or "multimodal_cfg" in config:
        why = f"its text tower is {text[odd]}" if odd else "its text tower is not CLIP's"
        raise InputError(
            f"{key}.model: {name}: prompts are tuned at the token embedding of a causal CLIP text "
            f"tower, and {why}; choose a model such as RN50, ViT-B-16 or ViT-L-14"
        )


def load(
    name: str, tag: str, checkpoint: Path | None, activation: Activation, key: str = "backbone"
) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """Load published weights through open_clip, downloading them where open_clip would.

    Returns:
        the model, its open_clip model config, its preprocessing config.

    Raises:
        InputError: see `check`; or the weights cannot be fetched or do not fit the model.
    """
    quick = check(name, tag, checkpoint, activation, key)
    if checkpoint is None:
        check_reachable(name, tag, key)
    config = {**(open_clip.get_model_config(name) or {}), "quick_gelu": quick}
    source = tag if checkpoint is None else str(checkpoint)
    try:
        model = open_clip.create_model(name, pretrained=source, force_quick_gelu=quick)
    except InputError:
        raise
    except Exception as error:  # what a damaged file does to its readers is of many kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        part = "pretrained" if checkpoint is None else "checkpoint"
        raise InputError(f"{key}.{part}: {source} cannot be loaded as {name}: {first}") from None
    preprocess = dict(open_clip.get_model_preprocess_cfg(model))
    if checkpoint is not None and (
        beside := _beside(checkpoint)
    ):  # knows what a bare file does not
        preprocess |= beside["preprocess_cfg"]
    return model, config, preprocess


def named(word: str) -> Backbone:
    """A model by a word of the command line.

    Args:
        word: NAME:TAG as open_clip names its weights ("ViT-B-32:openai"), NAME:FILE for weights of
            one's own, or a folder with open_clip's config and weights.

    Raises:
        InputError: none of these; or see `load`.
    """
    if word and Path(word).is_dir():
        return backbone.load(Path(word))
    name, colon, source = word.partition(":")
    if not colon:
        raise InputError(
            f"model {word!r} is no folder; write NAME:TAG as open_clip names its weights "
            "(ViT-B-32:openai), NAME:FILE, or a folder such as models/backbone"
        )
    file = Path(source) if Path(source).is_file() else None
    if file is None and Path(source).name != source:  # a path; tags have no slash
        raise InputError(f"model {word!r}: {source} is no file of weights")
    model, config, preprocess = load(name, source, file, "auto", f"model {word!r}")
    return backbone.frozen(model, config, preprocess, name=word)


def absolute(word: str) -> str:
    """A word for `named` that holds in any working folder."""
    name, colon, file = word.partition(":")
    if colon and Path(file).is_file():
        return f"{name}:{Path(file).resolve()}"
    return str(Path(word).resolve()) if Path(word).exists() else word


def check_reachable(name: str, tag: str, key: str = "backbone") -> None:
    """Ask the weights' server for a connection, rather than let the client retry for a minute.

    Raises:
        InputError: the weights are not on this machine, and the server does not answer.
    """
    found = get_pretrained_cfg(name, tag)
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    proxied = any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"))
    if proxied or _cached(found):
        return
    server = urlsplit(hub if found.get("hf_hub") else str(found.get("url", hub)))
    try:
        if os.environ.get("HF_HUB_OFFLINE") == "1" and found.get("hf_hub"):
            raise OSError("HF_HUB_OFFLINE is set")
        with socket.create_connection((server.hostname or "", server.port or 443), PATIENCE):
            return
    except OSError as error:
        raise InputError(
            f"{key}.pretrained: the weights {tag!r} of {name} are not on this machine and "
            f"{server.hostname} cannot be reached ({error}); run once with a connection, copy the "
            "cache of a machine that has them (HF_HOME), or give a checkpoint's path"
        ) from None


def _cached(found: dict[str, Any]) -> bool:
    from huggingface_hub import try_to_load_from_cache

    hub = str(found.get("hf_hub") or "").strip("/")
    names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    return bool(hub) and any(isinstance(try_to_load_from_cache(hub, n), str) for n in names)
