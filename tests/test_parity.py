"""The authors' numbers, from a folder of reference values (environment variable CLIPWORKS_PARITY)."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import clipworks.kit.torchvision_ops  # noqa: F401

import open_clip  # isort: skip
from clipworks.clip import scoring, text, visual
from clipworks.clip.backbone import Backbone, tokenizer
from clipworks.clip.features import Packed
from clipworks.fusion import weighing
from clipworks.kit.params import load
from clipworks.tuning import cooccurrence, losses
from clipworks.tuning.losses import LabelStatistics
from clipworks.tuning.objective import Objective, update_teacher
from clipworks.tuning.params import TrainModel
from clipworks.tuning.prompts import Prompts

FOLDER = os.environ.get("CLIPWORKS_PARITY", "")
ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not FOLDER, reason="CLIPWORKS_PARITY names no folder")
VALUE, GRADIENT = {"rtol": 1e-5, "atol": 1e-5}, 1e-4


@pytest.fixture(scope="module")
def values() -> dict[str, torch.Tensor]:
    return load_file(Path(FOLDER) / "values.safetensors")


@pytest.fixture(scope="module")
def backbone(meta: dict) -> Backbone:
    model = open_clip.CLIP(**meta["open_clip_config"], quick_gelu=meta["quick_gelu"])
    model.load_state_dict(load_file(Path(FOLDER) / "clip.safetensors"))
    model.eval().requires_grad_(False)
    context = meta["open_clip_config"]["text_cfg"]["context_length"]
    return Backbone(model, tokenizer(context), 64, (0.0,) * 3, (1.0,) * 3, "shortest", "parity")


def make(kind: str, prefix: str, meta: dict, values: dict, backbone: Backbone) -> Prompts:
    prompts = Prompts(
        backbone, meta["classes"], contexts=meta["n_ctx"], evidence=kind == "evidence"
    )
    for name, parameter in prompts.contexts.items():
        parameter.data = values[f"{prefix}_{name}"].clone()
    return prompts


def batch(values: dict, backbone: Backbone) -> Packed:
    tokens = values["caption_tokens"]
    with torch.no_grad():
        _, features = text.encode_tokens(backbone.model, tokens)
    lengths = text.lengths(tokens)
    mask = torch.arange(features.shape[1]) < lengths[:, None]
    item = torch.arange(len(tokens))[:, None].expand_as(mask)[mask]
    return Packed(F.normalize(features, dim=-1)[mask], item, lengths.cumsum(0) - 1)


def objective(kind: str, backbone: Backbone, **changes: object) -> Objective:
    settings = load("train.base", TrainModel, ROOT / "params.yaml")
    settings = settings.model_copy(update={"evidence": kind == "evidence", **changes})
    unused = LabelStatistics(torch.ones(1), 1, torch.zeros(1, 1))  # the ranking loss has no weights
    return Objective(backbone.model, settings, unused)


def close_gradient(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert (got - expected).abs().max() <= GRADIENT * expected.abs().max()


@pytest.mark.parametrize("kind", ["plain", "evidence"])
def test_training_gives_the_authors_logits_losses_and_gradients(
    kind, meta, values, backbone
) -> None:
    prompts, captions = make(kind, "ctx", meta, values, backbone), batch(values, backbone)
    labels = values["labels"]
    both, local = objective(kind, backbone).logits(prompts, captions)
    expected = {
        key.removeprefix(f"train/{kind}/"): v
        for key, v in values.items()
        if key.startswith(f"train/{kind}/")
    }
    torch.testing.assert_close(both, expected["global"], **VALUE)
    torch.testing.assert_close(local, expected["local"], **VALUE)
    torch.testing.assert_close(losses.ranking(both, labels), expected["ranking_global"], **VALUE)
    torch.testing.assert_close(losses.ranking(local, labels), expected["ranking_local"], **VALUE)
    torch.testing.assert_close(losses.asymmetric(both, labels), expected["asl_global"], **VALUE)
    statistics = LabelStatistics(values["cooc_nums"], len(labels), values["cooc_adj"])
    torch.testing.assert_close(
        losses.weighted_ranking(both, labels, statistics), expected["ranking_cooc_global"], **VALUE
    )
    loss = objective(kind, backbone)(prompts, None, captions, labels)
    torch.testing.assert_close(loss, expected["loss"], **VALUE)
    loss.backward()
    for name, parameter in prompts.contexts.items():
        close_gradient(parameter.grad, expected[f"grad_ctx_{name}"])


@pytest.mark.parametrize("kind", ["plain", "evidence"])
def test_the_teacher_gives_the_authors_values(kind, meta, values, backbone) -> None:
    prompts, teacher = (
        make(kind, "ctx", meta, values, backbone),
        make(kind, "ema_ctx", meta, values, backbone),
    )
    update_teacher(teacher, prompts, meta["notes"]["ema_momentum"])
    torch.testing.assert_close(
        teacher.contexts["global"].data, values[f"train/{kind}/ema_ctx_global_after"], **VALUE
    )
    captions, goal = batch(values, backbone), objective(kind, backbone)
    both, local = goal.logits(prompts, captions)
    teacher_both, teacher_local = goal.logits(teacher, captions)
    torch.testing.assert_close(teacher_both, values[f"train/{kind}/ema_global"], **VALUE)
    torch.testing.assert_close(teacher_local, values[f"train/{kind}/ema_local"], **VALUE)
    # KL terms are small numbers, so an absolute tolerance would say little.
    small = {"rtol": 1e-4, "atol": 1e-8}
    for name, old, new in (("kl_global", teacher_both, both), ("kl_local", teacher_local, local)):
        expected = values[f"train/{kind}/{name}"]
        torch.testing.assert_close(losses.distillation(old, new), expected, **small)


@pytest.mark.parametrize("kind", ["plain", "evidence"])
def test_inference_gives_the_authors_logits(kind, meta, values, backbone) -> None:
    classes = make(kind, "ctx", meta, values, backbone)(backbone.model)
    with torch.inference_mode():
        pooled, dense = visual.features(backbone.model.visual, values["images"], positional=False)
        blended, near = visual.blend_captions(
            pooled, values["caption_bank"], nearest=meta["notes"]["topk"]
        )
        local = scoring.local_logits(dense, classes["local"], classes.get("evidence"))
        both = scoring.global_logits(blended, classes["global"], meta["notes"]["logit_scale"])
        adjusted = weighing.add_cooccurrence(
            local, values["cooc_p"], meta["notes"]["cooccurrence_weight"]
        )
    torch.testing.assert_close(near, values[f"test/{kind}/topk_sims"], **VALUE)
    torch.testing.assert_close(both, values[f"test/{kind}/global"], **VALUE)
    torch.testing.assert_close(local, values[f"test/{kind}/local"], **VALUE)
    torch.testing.assert_close(adjusted, values[f"test/{kind}/local_adjusted"], **VALUE)


def test_co_occurrence_and_fusion_give_the_authors_values(values) -> None:
    matrix = cooccurrence.conditional(values["cooc_adj"], values["cooc_nums"])
    torch.testing.assert_close(matrix, values["cooc_p"], **VALUE)
    sims = values["fuse/window_sims"]
    for prefix in ("", "low_"):
        weighted = weighing.weigh_windows(
            values[f"fuse/{prefix}window_scores"], sims, similarity=True, variance="once"
        )
        torch.testing.assert_close(
            weighing.aggregate(weighted, "max_or_min"),
            values[f"fuse/{prefix}similarity_variance"],
            **VALUE,
        )
    twice = weighing.weigh_windows(
        values["fuse/window_scores"], sims, similarity=True, variance="twice"
    )
    torch.testing.assert_close(
        weighing.aggregate(twice, "max_or_min"), values["fuse/similarity_double_variance"], **VALUE
    )
