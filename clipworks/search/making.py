"""Making an index, or bringing one up to date."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clipworks.clip import pretrained
from clipworks.kit.errors import InputError
from clipworks.kit.files import printable
from clipworks.kit.images import is_picture
from clipworks.kit.places import alone, clear_folder
from clipworks.search import approximate, embedding
from clipworks.search.embedding import Embedder
from clipworks.search.shelf import ABOUT, FORM, About, Shelf
from clipworks.tagging import sources, store


@dataclass(frozen=True)
class Made:
    """What a run of `build` did."""

    images: int
    new: int
    changed: int
    gone: int
    bad: list[tuple[str, str]]


def build(
    folder: Path, words: Sequence[str], model: str | None, *, batch_size: int = 64,
    device: str = "auto", workers: int = 0,
) -> Made:  # fmt: skip
    """Make an index, or bring one up to date: new images are embedded, those that are gone leave it.

    Args:
        words: folders, files, patterns, tar shards or parquet tables, beside those it has already.
        model: a CLIP by a word of the command line; None for the one that the index has.
        workers: actors of a Ray cluster; 0 works here.

    Raises:
        InputError: nothing to embed, or another model than the index has.
    """
    shelf = Shelf.open(folder) if (folder / ABOUT).exists() else None
    if shelf is None and not words:
        raise InputError(
            f"there is no index {folder} yet: name a folder of images, and a CLIP by --model"
        )
    word = pretrained.absolute(model) if model is not None else shelf.about.model if shelf else None
    if word is None:
        raise InputError(
            "--model: a CLIP as NAME:TAG (ViT-B-32:openai), NAME:FILE or a folder such as "
            "solutions/retrieval/models/soup/greedy"
        )
    if shelf is not None and word != shelf.about.model:
        raise InputError(
            f"--model: {folder} was made with {shelf.about.model}; use another --index for {word}"
        )
    if shelf is None:
        Shelf.check_new(folder)
    before = [source for source in shelf.about.sources if not _went(Path(source))] if shelf else []
    about = About(word, list(dict.fromkeys([*before, *map(_absolute, words)])), "", form=FORM)
    if not about.sources:
        raise InputError(f"nothing that {folder} was made of is there any more; name a folder of images")  # fmt: skip
    if shelf is not None and words:
        sources.find(words)  # before those that the index has: which of both is wrong is said
    try:
        units = sources.find(about.sources)
    except InputError as error:
        if shelf is None:
            raise
        # A disk that is not mounted, perhaps: nothing is forgotten for that.
        raise InputError(
            f"{error}; {folder} stays as it is: put back what is missing, or make a new index in another folder"
        ) from None
    for unit in units:
        if unit.kind != "files" and isinstance(
            odd := sources.listable(unit.path.resolve()), Exception
        ):
            raise InputError(f"{printable(str(unit.path))}: {odd}")
    if workers and device != "auto":
        raise InputError("--device: with --workers each takes what its machine has; leave it out")
    if workers:
        from clipworks.tagging import ray_engine

        ray_engine.check("--workers")
    embedder = Embedder.named(word, batch_size, device, index=folder if shelf else None)
    about = replace(about, digest=store.digest(embedder.clip))
    if shelf is not None:
        shelf.check_model(about.digest)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / "parts"):
        now = Shelf.open(folder) if (folder / ABOUT).exists() else None
        if (now and now.about) != (shelf and shelf.about):
            raise InputError(f"another run changed the index {folder} while this one began; run it again")  # fmt: skip
        return _build(folder, shelf, about, units, embedder, workers=workers)


def _build(
    folder: Path, shelf: Shelf | None, about: About, units: Sequence[sources.Unit], embedder: Embedder, *,
    workers: int,
) -> Made:  # fmt: skip
    known = shelf.entries() if shelf else []
    kept, jobs = embedding.plan(units, known, model=about.digest)
    parts = folder / "parts"
    for other in set(parts.glob("*.safetensors")) - {parts / job.name for job in jobs}:
        other.unlink()  # of a run that was killed, and looked at other images or with another model
    if workers:
        from clipworks.search.ray_engine import spread

        spread(jobs, parts, about.model, batch_size=embedder.batch_size, workers=workers)
    else:
        embedding.run(jobs, parts, embedder)
    stores = [shelf.features()] if shelf and known else []
    rows = [(one, 0, i) for i, one in sorted(kept.items())]
    places = {known[i].path for i in kept}
    about.bad.extend(one for one in (shelf.about.bad if shelf else []) if one[0] in places)
    loose: list[tuple[str, str]] = []
    new: set[str] = set()
    for job in jobs:
        entries, features, own = embedding.read_part(parts / job.name)
        if job.entries:
            loose += own
        else:
            about.bad.extend((str(job.unit.path.resolve()), *one) for one in own)
        if entries:
            stores.append(features)
            rows += [(one, len(stores) - 1, i) for i, one in enumerate(entries)]
            new.update(one.name for one in entries)
    about = replace(about, bad=list(dict.fromkeys(about.bad)))
    bad = [*loose, *((name, why) for _, name, why in about.bad)]
    if shelf is None and not rows:  # an index of nothing would only stand in the way
        clear_folder(parts)
        return Made(0, 0, 0, 0, bad)
    made = (shelf or Shelf(folder, about)).replace(rows, stores, about)
    approximate.build(made)
    clear_folder(parts)
    gone = {one.name for one in known} - {known[i].name for i in kept}
    changed = len(new & gone)
    return Made(len(rows), len(new) - changed, changed, len(gone) - changed, bad)


def _absolute(word: str) -> str:
    """A source as the index keeps it. The folder of a pattern is no pattern, whatever its name.

    Raises:
        InputError: it is empty.
    """
    if not word:  # Path("") would be the working folder
        raise InputError("'': no such file or folder, and no file matches it")
    if os.path.lexists(word) or not glob.has_magic(word):
        return str(Path(word).resolve())
    return str(Path(glob.escape(str(Path.cwd())), word))


def _went(source: Path) -> bool:
    """Whether a single file was taken away. An empty folder may be a disk that is not mounted."""
    one = is_picture(source.name) or sources.is_named_packed(
        source
    )  # no folder with a dot in its name
    there = os.path.lexists(source) or not one or glob.has_magic(str(source))
    return not there and source.parent.is_dir() and any(source.parent.iterdir())
