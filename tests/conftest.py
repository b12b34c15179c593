"""Small real things that the tests share: a tiny CLIP on disk, a working folder, captions."""

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

gc.disable()  # a fifth of the time that importing and collecting takes; see pytest_collection_finish
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing may download
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

CLASSES = ["person", "dog", "traffic light", "hot dog", "cup", "bus"]
TINY = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def pytest_collection() -> None:
    """Large packages before any module of ours: jaxtyping watches those, and where one of them imports
    a package first, Python compiles that anew instead of reading what pip compiled. (A hook, since the
    process that only hands out tests needs none of them.)"""
    import pandas  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch  # noqa: F401

    import clipworks.kit.torchvision_ops  # noqa: F401  (before anything imports torchvision)

    import open_clip  # noqa: F401  # isort: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on finished worlds first: of two processes one begins with these and makes the world, the
    other begins in the middle of the list, and does not wait for it."""
    worlds = {"finished", "finished_street", "finished_scenes"}
    items.sort(key=lambda item: worlds.isdisjoint(getattr(item, "fixturenames", ())))


def pytest_collection_finish() -> None:
    """What was imported stays: no need to look through it again and again."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def tmp_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working folder too, as a stage sees it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP in the form of models/backbone."""
    from clipworks.clip import backbone

    folder = tmp_path_factory.mktemp("backbone")
    model = backbone.new(TINY, seed=0)
    # Weights large enough that classes differ by more than rounding.
    for parameter in model.parameters():
        parameter.data *= 1.5
    preprocess = {"size": 32, "mean": backbone.OPENAI_MEAN, "std": backbone.OPENAI_STD}
    backbone.save(folder, model, TINY, {**preprocess, "resize_mode": "shortest"})
    return folder


@pytest.fixture(scope="session")
def clip(backbone_folder: Path):
    """The tiny CLIP, loaded."""
    from clipworks.clip import backbone

    return backbone.load(backbone_folder)


@pytest.fixture(scope="session")
def encoded(tmp_path_factory, clip) -> Path:
    """Captions of six classes, encoded by the tiny CLIP."""
    import numpy as np
    import torch

    from clipworks.clip import features
    from clipworks.kit.tables import Writer
    from clipworks.tuning.captions import ROWS

    out = tmp_path_factory.mktemp("captions")
    rng = np.random.default_rng(0)
    texts: list[str] = []
    with Writer(out / "captions.parquet", ROWS) as rows:
        for number in range(120):
            labels = sorted(rng.choice(6, int(rng.integers(1, 4)), replace=False).tolist())
            texts.append(f"number {number}: " + " and ".join(f"a {CLASSES[i]}" for i in labels))
            rows.add(
                text=number,
                source="multi" if len(labels) > 1 else "single",
                labels=labels,
                held_out=number % 4 == 0,
            )
    features.encode(clip, texts, out, batch_size=32, dtype="float32", device=torch.device("cpu"))
    return out


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process that asks makes; the others wait for it."""
    from filelock import FileLock

    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name / "project", base / name / "done"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The thimble world, every stage run once, by the first process that asks. Copy it to change it."""
    import thimble

    return made_once(
        tmp_path_factory, "thimble", lambda folder: thimble.run_stages(thimble.copy(folder))
    )


@pytest.fixture(scope="module")
def values(request: pytest.FixtureRequest):
    """Reference values of the folder that a module of parity tests names."""
    from safetensors.numpy import load_file

    return load_file(Path(request.module.FOLDER) / "values.safetensors")


@pytest.fixture(scope="module")
def texts(request: pytest.FixtureRequest) -> dict:
    """Reference texts beside them."""
    return json.loads(Path(request.module.FOLDER, "texts.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def meta(request: pytest.FixtureRequest) -> dict:
    """What the reference values were made with."""
    return json.loads(Path(request.module.FOLDER, "meta.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def models(clip):
    """Class features of a hand prompt and of two tuned ones."""
    import torch

    from clipworks.clip import hand
    from clipworks.tuning.prompts import Prompts

    with torch.inference_mode():
        tuned = Prompts(clip, CLASSES, contexts=4, evidence=True)(clip.model)
        plain = Prompts(clip, CLASSES, contexts=4, evidence=False, seed=1)(clip.model)
    return {"hand": hand.one_template(clip, CLASSES), "tuned": tuned, "plain": plain}


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A few images of noise, one of them empty."""
    import numpy as np
    from PIL import Image

    out = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number, size in enumerate([(64, 48), (40, 90), (64, 48), (5, 5), (64, 64)]):
        pixels = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(out / f"{number} ü.png")
    (out / "empty.jpg").write_bytes(b"")
    return out


@pytest.fixture(scope="session")
def tagger(clip, backbone_folder):
    """A tagger of six classes and the tiny CLIP, without thresholds."""
    from clipworks.tagging.tagger import Tagger

    return Tagger.of(clip, CLASSES, word=str(backbone_folder), scales=[2])


@pytest.fixture
def album(tmp_dir) -> Path:
    """Twelve pictures in two folders, one broken, one of another kind than it says, a text beside."""
    from albums import png
    from test_crops import photograph

    folder = tmp_dir / "album"
    (folder / "deep ü").mkdir(parents=True)
    for number in range(10):
        place = folder / ("deep ü" if number % 2 else "") / f"{number}.png"
        place.write_bytes(png(40 + number, number))
    (folder / "broken.jpg").write_bytes(png()[:100])
    photograph(50, 30).save(folder / "really a png.jpg", "PNG")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def finished_street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The retrieval solution, small, every stage run once. Copy it to change it."""
    import retrieving

    return made_once(tmp_path_factory, "retrieval", retrieving.make)


@pytest.fixture
def street(finished_street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be changed, but for the models, which are a link; the working folder."""
    import shutil

    folder = tmp_path / "project"
    shutil.copytree(finished_street, folder, ignore=shutil.ignore_patterns("models"))
    (folder / "models").symlink_to(finished_street / "models")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def own_street(street: Path) -> Path:
    """The same with models of its own, 200 MB."""
    import shutil

    theirs = (street / "models").resolve()
    (street / "models").unlink()
    shutil.copytree(theirs, street / "models")
    return street


@pytest.fixture(scope="session")
def finished_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes solution, small, every stage run once. Copy it to change it."""
    import classifying

    return made_once(tmp_path_factory, "scenes", classifying.make)


@pytest.fixture
def scenes(finished_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be changed; the working folder."""
    import shutil

    folder = tmp_path / "project"
    shutil.copytree(finished_scenes, folder)
    monkeypatch.chdir(folder)
    return folder
