"""Wrong things that people give: params, templates, weights."""

import pickle
import re
import socket
from pathlib import Path
from typing import Any

import yaml
from bad_world import World, wrong
from safetensors.torch import save

from clipworks.kit import params


@wrong("no params.yaml", r"params\.yaml does not exist; run from the project's top folder")
def _(world: World) -> None:
    Path("params.yaml").unlink()
    world.check()


@wrong("a section is missing", r"params\.yaml: section 'infer': missing", key="infer")
@wrong("a key is missing", r"section 'infer', key 'scales': missing", key="infer.scales")
def _(world: World, key: str) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    section, _, name = key.partition(".")
    (params[section] if name else params).pop(name or section)
    world.put("params.yaml", yaml.safe_dump(params))
    world.check()


MODELS = re.escape(f"there are {sorted(params.MODELS)}")


@wrong("training without a model", r"section 'train': name one of \['base', 'diff'", model="")
@wrong("training a model that there is not", rf"'train\.bsae'; {MODELS}; did.*'base'", model="bsae")
def _(world: World, model: str) -> None:
    from stages.train import main

    main(*([model] if model else []))


@wrong(
    "a setting behind a stage's name",
    r"'ensemble\.top_k=3' would not be read; settings stand in par",
)
def _(world: World) -> None:
    import sys

    from clipworks.kit import cli
    from stages.ensemble import main

    world.patch.setattr(sys, "argv", ["ensemble", "ensemble.top_k=3"])
    cli.stage(main)


@wrong(
    "a class name that CLIP would cut",
    r"the class prompt 'a bad photo.*' has 1\d\d tokens, and this CLIP reads 77",
)
def _(world: World) -> None:
    from clipworks.clip import backbone, hand

    world.take("models/backbone")
    hand.eighty_templates(backbone.load(Path("models/backbone")), ["dog", "9" * 110])


@wrong("a GPU that this machine lacks", r"base\.device: this machine has no cuda; use auto or cpu")
def _(world: World) -> None:
    import torch

    world.patch.setattr(torch.cuda, "is_available", lambda: False)
    world.set({"base.device": "cuda"})
    world.check()


@wrong(
    "half precision on a CPU, when it comes to training", r"precision fp16 needs a GPU; on a CPU"
)
def _(world: World) -> None:
    import torch

    from clipworks.kit import runtime

    runtime.accelerator(torch.device("cpu"), "fp16")


@wrong("no devices to train on", r"--devices: name at least one, as 0 or 0,1,2,3")
def _(world: World) -> None:
    from clipworks.settings.lanes import side_by_side

    side_by_side({"base": "backbone"}, [])


# Templates


@wrong("a missing template", r"templates data/templates: missing \['judge\.txt'\]", text=None)
@wrong("a template in UTF-16", r"templates/judge\.txt is not UTF-8", text="a".encode("utf-16"))
@wrong(
    "an empty template", r"templates data/templates: nothing stands in \['judge\.txt'\]", text=" \n"
)
@wrong(
    "a template that is no Jinja",
    r"template judge\.txt, line \d: .*; allowed are names, count and caption",
    text="Is\n{{ caption",
)
@wrong(
    "a template that asks about nothing",
    r"template judge\.txt: \{\{ caption \}\} is not in it, so that every question would be the same",
    text="Is it good?",
)
@wrong("a template with an unknown name", r"judge\.txt: 'captoin' is undefined; allowed are names, "
       r"count and caption", text="Is {{ captoin }} good?")  # fmt: skip
def _(world: World, text: str | bytes | None) -> None:
    from clipworks.chat.request import read_templates

    path = world.put("data/templates/judge.txt", text or "")
    if text is None:
        path.unlink()
    read_templates(Path("data/templates"))["judge"].render(names=[], count=1, caption="a dog")


# Weights


def load_weights(file: Path | None, name: str = "ViT-S-32-alt", tag: str = "") -> None:
    """As the backbone stage does."""
    from clipworks.clip import pretrained

    pretrained.load(name, tag, file, "gelu" if file else "auto")


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("evil"),)


PICKLED = pickle.dumps({"a": Evil()}, protocol=2)


@wrong("weights with code", r"backbone\.checkpoint: .*w\.pt cannot be loaded as", content=PICKLED)
@wrong(
    "a web page for weights",
    r"checkpoint: .*w\.pt is no whole file of weights",
    content=b"<html>" * 99,
)
@wrong("weights that hold no tensor", r"w\.pt cannot be loaded as", content=save({}))
@wrong(
    "weights that are a list",
    r"w\.pt cannot be loaded as",
    content=pickle.dumps([1, 2], protocol=2),
)
@wrong("weights that end half-way", r"checkpoint: .*w\.safetensors is no whole file", content=None)
@wrong(
    "weights of another model", r"w\.safetensors cannot be loaded as ViT-S-32-alt: ", content=b""
)
def _(world: World, content: bytes | None) -> None:
    world.take("models/backbone")
    weights = world.folder / "models/backbone/open_clip_model.safetensors"
    if not content:
        weights.rename("w.safetensors")
    if content is None:
        world.cut("w.safetensors")
    try:
        load_weights(world.put("w.pt", content) if content else world.folder / "w.safetensors")
    finally:
        assert not Path("evil").exists()


@wrong("weights beyond reach", r"backbone\.pretrained: the weights 'openai' of RN50 are not on this "
       r"machine and \S+ cannot be reached \(no route\); run once with a connection")  # fmt: skip
def _(world: World) -> None:
    def unreachable(*arguments: object) -> None:
        raise OSError("no route")

    for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HF_HUB_OFFLINE"):
        world.patch.delenv(key, raising=False)
    world.patch.setattr(socket, "create_connection", unreachable)
    load_weights(None, "RN50", "openai")
