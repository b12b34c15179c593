"""How well captions of a real chat model are labelled, against 300 labelled by careful reading.

The captions were drawn at random (seed 20261121) from ChatGLM's published replies and are known
here by the first 16 digits of their SHA-256; CLIPWORKS_REPLIES names the folder that holds them.
They were labelled by a reader who knew the classes and not the labeller's synonyms: what a fair
reader sees in the scene, by name, plural, possessive, ordinary synonym or kind; no activity without
its object, no pronoun, "coffee table" no dining table, "pizza box" no pizza, "stove" an oven.
"""

import hashlib
import json
import os
from pathlib import Path

import pytest

from clipworks.chat import replay
from clipworks.kit.classes import read_classes, read_synonyms
from clipworks.writing.filtering import candidates
from clipworks.writing.labels import Labeller

ROOT = Path(__file__).parent.parent
READ = json.loads((ROOT / "tests/fixtures/labels_of_300_replies.json").read_text())


@pytest.mark.skipif(
    "CLIPWORKS_REPLIES" not in os.environ, reason="CLIPWORKS_REPLIES names no folder"
)
def test_precision_and_recall_on_300_real_captions_are_at_least_97_percent() -> None:
    labeller = Labeller(
        read_classes(ROOT / "data/classes/coco80.txt"),
        read_synonyms(ROOT / "data/classes/synonyms.yaml"),
    )
    folder = Path(os.environ["CLIPWORKS_REPLIES"])
    texts = {}
    for part in ("captions", "single", "challenge"):
        rows = (
            {"source": "multi", "names": r.names, "reply": r.text, "finish": "stop"}
            for r in replay.recordings(folder / part)
        )
        for found in candidates(rows, min_length=6, max_length=149):
            digest = hashlib.sha256(found.caption.encode()).hexdigest()[:16]
            if digest in READ:
                texts[digest] = found.caption
    assert len(texts) >= 295, f"only {len(texts)} of 300 captions are parsed as they were drawn"
    precision, recall, failures = [], [], []
    for digest, caption in texts.items():
        got = {labeller.class_names[i] for i in labeller.label(caption)}
        true = set(READ[digest])
        precision.append(len(got & true) / len(got) if got else float(not true))
        recall.append(len(got & true) / len(true) if true else float(not got))
        if got != true:
            failures.append(f"{caption} | extra {sorted(got - true)} | missed {sorted(true - got)}")
    mean = [sum(values) / len(values) for values in (precision, recall)]
    print(
        f"\nper caption: precision {mean[0]:.4f}, recall {mean[1]:.4f}; {len(failures)} differ:",
        *failures,
        sep="\n",
    )
    assert min(mean) >= 0.97
