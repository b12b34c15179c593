"""The CLIP under everything: an open_clip model on disk as safetensors plus its open_clip config.

Whatever it came from (pretrained weights, the miniature world), later stages load it one way.
"""

import functools
import json
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

import clipworks.kit.torchvision_ops  # noqa: F401  (before open_clip)
from clipworks.kit import tensors
from clipworks.kit.errors import InputError, brief
from clipworks.kit.files import read_json
from clipworks.kit.tensors import save_file

import open_clip  # isort: skip
from open_clip.tokenizer import SimpleTokenizer  # isort: skip

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"

Tokenize = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class Backbone:
    """A frozen CLIP in evaluation mode with its tokenizer and the way it wants its images."""

    model: nn.Module
    tokenizer: SimpleTokenizer
    image_size: int  # pixels, square
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_mode: str  # "shortest" (short side, centre crop), "squash" or "longest"
    name: str

    def tokenize(self, texts: list[str]) -> Tensor:
        """Token ids of shape (text, context_length); 0 is padding, the end token is the largest."""
        return self.tokenizer(texts)

    def too_long(self, texts: Sequence[str]) -> list[int]:
        """Places of texts that the text tower would cut without a word."""
        return self._too_long(texts, self.tokenize(list(texts)))

    def check_fit(self, texts: Sequence[str], *, what: str) -> Tensor:
        """Token ids of texts; raises InputError where the tower would cut one without a word."""
        ids = self.tokenize(list(texts))
        for row in self._too_long(texts, ids):
            count = len(self.tokenizer.encode(texts[row])) + 2
            raise InputError(
                f"{what} {reprlib.repr(texts[row])} has {count} tokens, and this CLIP reads "
                f"{self.tokenizer.context_length or 77}; shorten it"
            )
        return ids

    def _too_long(self, texts: Sequence[str], ids: Tensor) -> list[int]:
        context = self.tokenizer.context_length or 77
        full = (ids[:, -1] != 0).nonzero().flatten().tolist()
        return [row for row in full if len(self.tokenizer.encode(texts[row])) + 2 > context]


def new(model_config: dict[str, Any], *, seed: int) -> nn.Module:
    """A CLIP of open_clip's own class with random weights."""
    torch.manual_seed(seed)
    return open_clip.CLIP(**model_config)


class Preprocess(BaseModel):
    """The part of open_clip's config that says what a tower expects of a picture."""

    size: int | tuple[int, int] | None = None
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    resize_mode: Literal["shortest", "longest", "squash"] | None = None  # "shortest"


def side(size: int | Sequence[int]) -> int:
    """The side of a square, which may be written as one number or as two; 0 of what is none."""
    return size if isinstance(size, int) else size[0] if size[0] == size[-1] else 0


def tower_side(model_config: dict[str, Any], name: str) -> int:
    """The side of the pictures that a tower sees.

    Raises:
        InputError: they are no squares.
    """
    size = model_config["vision_cfg"].get("image_size", 224)
    if not (found := side(size)):
        raise InputError(f"{name}: vision_cfg.image_size is {size}; pictures must be square")
    return found


@functools.lru_cache(maxsize=4)
def tokenizer(context_length: int) -> SimpleTokenizer:
    """CLIP's byte-pair tokenizer, which comes with open_clip; read once, since every model has the same."""
    return SimpleTokenizer(context_length=context_length)


def save(
    folder: Path, model: nn.Module, model_config: dict[str, Any], preprocess: dict[str, Any]
) -> None:
    """Write a model in the form that open_clip calls a local directory."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": model_config, "preprocess_cfg": preprocess}
    (folder / CONFIG).write_text(
        json.dumps(config, indent=2, default=list) + "\n", encoding="utf-8"
    )
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    save_file(weights, str(folder / WEIGHTS))


def files(folder: Path) -> list[Path]:
    """All that features depend on: the weights, and how pictures and texts are prepared."""
    return [folder / CONFIG, folder / WEIGHTS]


def read_config(path: Path, *, whole: bool = True) -> dict[str, Any]:
    """open_clip's config of a model.

    Args:
        whole: refuse one that leaves parts out; otherwise those are empty.

    Raises:
        InputError: it cannot be read, or lacks a part.
    """
    config = read_json(path)
    if isinstance(config, dict) and not whole:
        config = {"model_cfg": {}, "preprocess_cfg": {}, **config}
    for part in ("model_cfg", "preprocess_cfg"):
        if not isinstance(config, dict) or not isinstance(config.get(part), dict):
            raise InputError(f"{path}: holds no part {part!r}, as open_clip writes it")
    for tower in ("text_cfg", "vision_cfg") if whole else ():
        if not isinstance(config["model_cfg"].get(tower), dict):
            raise InputError(f"{path}: model_cfg holds no part {tower!r}, as open_clip writes it")
    return config


def load(folder: Path, *, device: str | torch.device = "cpu") -> Backbone:
    """Load what `save` wrote, frozen and in evaluation mode.

    Raises:
        InputError: the folder lacks a file, or its text tower needs another tokenizer than CLIP's.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).exists():
            raise InputError(
                f"backbone {folder} lacks {name}; `dvc repro backbone` writes models/backbone, and a folder of "
                f"your own needs {CONFIG} and {WEIGHTS}, as open_clip saves them"
            )
    config = read_config(folder / CONFIG)
    own = "`dvc repro backbone` writes models/backbone; weights of your own must be whole"
    with tensors.opened(folder / WEIGHTS, made_by=own) as file:
        if not file.keys():  # whole, and of something: open_clip would not say which file is not
            raise InputError(f"{folder / WEIGHTS} holds no weights; {own}")
    tower_side(config["model_cfg"], str(folder))
    text_config = config["model_cfg"]["text_cfg"]
    if "hf_model_name" in text_config or "hf_tokenizer_name" in text_config:
        raise InputError(
            f"backbone {folder}: its text tower is {text_config.get('hf_model_name', 'not CLIP')}, "
            "whose tokenizer is another than CLIP's; choose a model of open_clip with a CLIP text tower"
        )
    try:
        model = open_clip.create_model(f"local-dir:{folder.resolve()}", device=device)
    except (
        RuntimeError,
        TypeError,
        ValueError,
        KeyError,
        AssertionError,
        ArithmeticError,
    ) as error:
        raise InputError(
            f"backbone {folder}: {WEIGHTS} does not fit {CONFIG}: {brief(error)}"
        ) from None
    return frozen(model, config["model_cfg"], config["preprocess_cfg"], name=str(folder))


def frozen(
    model: nn.Module, model_config: dict[str, Any], preprocess: dict[str, Any], *, name: str
) -> Backbone:
    """A model of open_clip with what its configs say of texts and images, for inference alone.

    Raises:
        InputError: a weight is no number, or the configs are of no use.
    """
    model.eval().requires_grad_(False)
    if odd := [key for key, value in model.state_dict().items() if not value.isfinite().all()]:
        raise InputError(
            f"{name}: weights are no finite numbers: {', '.join(odd[:3])} ({len(odd)} in all)"
        )
    try:
        about = Preprocess.model_validate(preprocess)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        needs = {"size": "whole pixels", "resize_mode": "shortest, longest or squash"}
        raise InputError(
            f"{name}: preprocess_cfg.{key} is {preprocess[key]!r}; it needs {needs.get(key, 'three numbers')}"
        ) from None
    size = tower_side(model_config, name)
    if side(about.size or size) != size:
        raise InputError(
            f"{name}: preprocess_cfg.size is {about.size}, and vision_cfg.image_size is {size}; make them equal"
        )
    return Backbone(
        model=model,
        tokenizer=tokenizer(model_config["text_cfg"].get("context_length", 77)),
        image_size=size,
        mean=about.mean,
        std=about.std,
        resize_mode=about.resize_mode or "shortest",
        name=name,
    )
