"""What the contest's solution computes, from a folder of reference values (CLIPWORKS_PARITY_SCENES)."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clipworks.kit.torchvision_ops  # noqa: F401
from clipworks.clip.hand import imagenet_templates
from clipworks.clip.visual import normalise
from clipworks.kit import images
from clipworks.scenes import folder, pooling, prompts, sharpening, submissions

FOLDER = os.environ.get("CLIPWORKS_PARITY_SCENES", "")
CONTEST = Path(__file__).parent.parent / "solutions/scenes/data/templates/contest.yaml"
pytestmark = pytest.mark.skipif(not FOLDER, reason="CLIPWORKS_PARITY_SCENES names no folder")
CLOSE = {"rtol": 0, "atol": 1e-6}


def owner_of(counts: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def test_sharpening_is_equal_bit_for_bit(values, meta, texts) -> None:
    for name, side in meta["sharpen"]["sides"].items():
        picture = images.as_stored(Path(FOLDER) / texts["sharpen/files"][name])
        resized = values[f"sharpen/{name}/resized"]
        np.testing.assert_array_equal(np.asarray(sharpening.square(picture, side)), resized)
        for label, factor in meta["sharpen"]["factors"].items():
            found = sharpening.sharpen(Image.fromarray(resized), factor)
            expected = values[f"sharpen/{name}/factor_{label}"]
            np.testing.assert_array_equal(np.asarray(found), expected)
            # And as a whole, from the file.
            whole = sharpening.prepare(picture, side, [factor])[0]
            np.testing.assert_array_equal(whole, expected)


def test_grey_palette_and_transparent_files_become_rgb_first(values, texts) -> None:
    for name in ("grey", "rgba", "palette"):
        picture = images.as_stored(Path(FOLDER) / texts["sharpen/files"][name])
        expected = values[f"modes/{name}/convert_first"]
        for factor, suffix in ((1.0, ""), (2.0, "_2.0")):
            found = sharpening.prepare(picture, len(expected), [factor])[0]
            np.testing.assert_array_equal(found, values[f"modes/{name}/convert_first{suffix}"])


def test_the_generic_prompts_are_the_contests_and_counts_too(values, meta, texts) -> None:
    file = prompts.read_file(CONTEST)
    imagenet = imagenet_templates("{}")
    groups = ["name", "own", "blur", "imagenet"]
    assert file.imagenet["imagenet"] == texts["prompts/openai_indices"]
    names = texts["prompts/class_names"]
    generic = file.model_copy(update={"sentences": {}})
    built = prompts.build(generic, names, imagenet, name="contest")
    rows = built.rows(groups)
    for c, name in enumerate(names):
        mine = [built.texts[i] for i in rows if built.owners[i] == c]
        assert mine == texts["prompts/generic"][name]
    counts = np.bincount(built.owner[rows])
    np.testing.assert_array_equal(counts, values["prompts/counts_other_names"])
    whole = prompts.build(file, meta["prompts"]["classes"], imagenet, name="contest")
    chosen = whole.rows([*groups, "sentences"])
    np.testing.assert_array_equal(np.bincount(whole.owner[chosen]), values["prompts/counts"])


def test_the_four_poolings(values, meta) -> None:
    about = meta["pool"]
    owner = owner_of(np.full(about["classes"], about["prompts_per_class"]))
    texts, scale = values["pool/texts"], float(about["scale"])
    cosines = values["pool/images"].astype(np.float64) @ texts.T.astype(np.float64)
    probabilities = pooling.prompt_probabilities(cosines, scale)
    np.testing.assert_allclose(probabilities, values["pool/prompt_probs"], **CLOSE)
    found = {
        "shared": pooling.class_means(probabilities, owner),
        "embedding": pooling.embedding_mean(cosines, texts.astype(np.float64), owner, scale),
        "per_template": pooling.template_softmax(cosines, owner, scale),
    }
    for name, pooled in found.items():
        np.testing.assert_allclose(pooled, values[f"pool/{name}"], **CLOSE)
        np.testing.assert_array_equal(pooling.decide(pooled), values[f"pool/{name}_label"])
    logits = pooling.log_sum_exp(cosines, owner, scale)
    np.testing.assert_allclose(logits, values["pool/log_sum_exp"], **CLOSE)
    np.testing.assert_array_equal(logits.argmax(axis=1), values["pool/shared_label"])


def test_unequal_counts_are_treated_equally(values, meta) -> None:
    owner = owner_of(values["pool_unequal/counts"])
    texts, scale = values["pool_unequal/texts"].astype(np.float64), float(meta["pool"]["scale"])
    cosines = values["pool_unequal/images"] @ texts.T
    pooled = pooling.class_means(pooling.prompt_probabilities(cosines, scale), owner)
    np.testing.assert_allclose(pooled, values["pool_unequal/shared"], **CLOSE)
    np.testing.assert_array_equal(pooling.decide(pooled), values["pool_unequal/label"])
    means = pooling.embedding_mean(cosines, texts, owner, scale)
    np.testing.assert_allclose(means, values["pool_unequal/embedding"], **CLOSE)
    with pytest.raises(ValueError, match="pairs the classes' prompts one to one"):
        pooling.template_softmax(cosines, owner, scale)


def test_ensembles_with_and_without_the_drop(values, meta) -> None:
    about, probs = meta["ensemble"], values["ensemble/probs"]
    owner = owner_of(np.full(about["classes"], about["prompts_per_class"]))
    named = [re.fullmatch(r"ensemble/([\d.]+)_([\d.]+)(_drop)?/pooled", key) for key in values]
    assert sum(match is not None for match in named) >= 4
    for match in filter(None, named):
        mixed = pooling.mix(list(probs[:2]), [float(match[1]), float(match[2])])
        kept = pooling.drop(mixed, about["threshold"]) if match[3] else mixed
        name = match[0].removesuffix("/pooled")
        pooled = pooling.class_means(kept, owner)
        np.testing.assert_allclose(pooled, values[f"{name}/pooled"], **CLOSE)
        np.testing.assert_array_equal(pooling.decide(pooled), values[f"{name}/label"])
        np.testing.assert_array_equal((kept > 0).sum(axis=1), values[f"{name}/kept"])
    wide = list(probs.astype(np.float64))
    for key in ("weights", "raw_weights"):
        mixed = pooling.mix(wide, values[f"ensemble/three/{key}"].tolist())
        name = "pooled" if key == "weights" else "raw_pooled"
        expected = values[f"ensemble/three/{name}"]
        np.testing.assert_allclose(pooling.class_means(mixed, owner), expected, **CLOSE)


def test_drops_at_other_thresholds_leave_some_pictures_without_a_label(values, meta) -> None:
    about = meta["ensemble"]
    owner = owner_of(np.full(about["classes"], about["prompts_per_class"]))
    names = {key.split("/")[1] for key in values if key.startswith("drop/") and key.count("/") == 2}
    assert len(names) >= 3
    for name in names:
        kept = pooling.drop(values["drop/probs"], float(values[f"drop/{name}/threshold"][0]))
        pooled = pooling.class_means(kept, owner)
        labels = pooling.decide(pooled)
        np.testing.assert_allclose(pooled, values[f"drop/{name}/pooled"], **CLOSE)
        np.testing.assert_array_equal(labels, values[f"drop/{name}/label"])
        np.testing.assert_array_equal(labels < 0, values[f"drop/{name}/all_dropped"])


def test_natural_order_and_the_submission_byte_for_byte(values, texts, tmp_path) -> None:
    assert folder.natural_order(texts["files/names"]) == texts["files/natural"]
    assert folder.natural_order(texts["files/numbered"]) == texts["files/numbered_natural"]
    submissions.write(tmp_path / "a.csv", values["csv/labels"].tolist())
    assert (tmp_path / "a.csv").read_bytes() == texts["csv/text"].encode()
    read = submissions.read(tmp_path / "a.csv", rows=len(values["csv/labels"]), classes=6)
    np.testing.assert_array_equal(read, values["csv/labels"])


def test_every_faulty_submission_is_refused(texts, meta, tmp_path) -> None:
    for fault in texts["csv/faults"]:
        (tmp_path / "b.csv").write_text(fault["text"])
        rows = meta["csv"]["rows"] if "expected" in fault["why"] else None
        with pytest.raises(ValueError, match="submission"):
            submissions.read(tmp_path / "b.csv", rows=rows, classes=6)


def test_comparison_of_runs(values, texts) -> None:
    runs = values["runs/labels"]
    np.testing.assert_array_equal(submissions.agreement(runs), values["runs/agreement"])
    vote, tied = submissions.vote(runs)
    np.testing.assert_array_equal(vote, values["runs/vote"])
    np.testing.assert_array_equal(tied, values["runs/vote_tied"])
    assert submissions.duplicates(runs) == texts["runs/duplicates"]
    found = submissions.outliers(runs)
    np.testing.assert_allclose(found.share, values["runs/vote_share"], **CLOSE)
    np.testing.assert_allclose(found.z, values["runs/z"], **CLOSE)
    np.testing.assert_array_equal(found.outlier, values["runs/outlier"])


def test_from_pictures_to_the_six_lists_of_labels(values, meta, texts, tmp_path) -> None:
    about = meta["whole"]
    side, classes = about["side"], len(meta["prompts"]["classes"])
    owner = owner_of(np.full(classes, about["prompts"] // classes))
    pictures = [images.as_stored(Path(FOLDER) / name) for name in texts["whole/files"]]
    probabilities = {}
    for model, factor in about["sharpen"].items():
        pixels = np.stack([sharpening.prepare(p, side, [factor])[0] for p in pictures])
        if model == "meta":
            np.testing.assert_array_equal(pixels[0], values[f"whole/first_picture_{factor}"])
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        inputs = normalise(batch, tuple(about["mean"]), tuple(about["std"])).double()
        grid = inputs.unflatten(-1, (-1, 28)).unflatten(-3, (-1, 28)).mean((-1, -3)).flatten(1)
        np.testing.assert_allclose(grid, values[f"whole/{model}/grid"], **CLOSE)
        features = grid.numpy() @ values[f"whole/{model}/image_matrix"]
        features = features + values[f"whole/{model}/image_offset"]
        text = values[f"whole/{model}/texts"].astype(np.float64)
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features, text)]
        found = pooling.prompt_probabilities(unit[0] @ unit[1].T, float(about["scale"]))
        np.testing.assert_allclose(found, values[f"whole/{model}/prompt_probs"], rtol=0, atol=2e-5)
        probabilities[model] = found
    first, second = probabilities.values()
    for name in (key for key in values if key.startswith("whole/labels/")):
        share = int(name.split("/")[-1][:3]) / 100
        mixed = pooling.mix([first, second], [share, 1 - share])
        if name.endswith("drp0002"):
            mixed = pooling.drop(mixed, 0.002)
        labels = pooling.decide(pooling.class_means(mixed, owner))
        np.testing.assert_array_equal(labels, values[name])
        if name.endswith("054_046"):
            submissions.write(tmp_path / "c.csv", labels.tolist())
            assert (tmp_path / "c.csv").read_text() == texts["whole/csv"]
