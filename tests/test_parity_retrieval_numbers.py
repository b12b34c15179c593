"""The retrieval solution's formulas against values of the authors' functions; see test_parity_retrieval.py."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_parity_retrieval import known
from torch.nn import functional as F

from clipworks.clip.visual import normalise
from clipworks.kit import images
from clipworks.kit.errors import InputError
from clipworks.retrieval import (
    completion,
    losses,
    measures,
    ranking,
    reranking,
    schedule,
    soups,
    squares,
    submission,
)

FOLDER = os.environ.get("CLIPWORKS_PARITY_RETRIEVAL", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="CLIPWORKS_PARITY_RETRIEVAL is not set")
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def test_squares(values, texts, meta) -> None:
    about = meta["pad"]
    for name, file in texts["pad/files"].items():
        image = images.as_stored(Path(FOLDER) / file)
        np.testing.assert_array_equal(np.asarray(image), values[f"pad/{name}/rgb"])
        np.testing.assert_array_equal(np.asarray(squares.pad(image)), values[f"pad/{name}/square"])
        pixels = squares.fit(image, about["input_side"], "longest")
        found = normalise(
            torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], tuple(about["mean"]),
            tuple(about["std"]),
        )[0]  # fmt: skip
        np.testing.assert_allclose(found.numpy(), values[f"pad/{name}/input"], atol=1e-5)
        assert isinstance(image, Image.Image)


def test_completion(values, texts) -> None:
    names, rows = known(texts, "completion"), texts["completion/rows"]
    gaps = []
    for row in rows:
        one = completion.gap(row["caption"], names)
        assert list(one.candidates) == [texts["completion/prompts"][i] for i in row["candidates"]]
        assert (one.prefix, list(one.missing)) == (row["prefix"], row["missing"])
        gaps.append(one)
    place = {text: i for i, text in enumerate(texts["completion/prompts"])}
    images, prompts = (
        torch.from_numpy(values[f"completion/{kind}_features"]) for kind in ("image", "text")
    )
    chosen = completion.choose(gaps, images, prompts, place)
    assert [one.chosen for one in chosen] == values["completion/chosen"].tolist()
    assert [one.text for one in chosen] == [row["completed"] for row in rows]
    expected = values["completion/probabilities"]
    for i, one in enumerate(chosen):
        assert one.probability == pytest.approx(expected[i, one.chosen], rel=1e-5)
    for caption in texts["completion/unknown"]:
        with pytest.raises(InputError, match="inventory"):
            completion.gap(caption, names)


def test_losses_and_their_gradients(values, texts) -> None:
    numbers = {caption: i for i, caption in enumerate(dict.fromkeys(texts["loss/captions"]))}
    captions = torch.tensor([numbers[caption] for caption in texts["loss/captions"]])
    targets = losses.soft_targets(captions)
    np.testing.assert_allclose(targets.numpy(), values["loss/targets"], **CLOSE)
    for level in ("low", "high"):
        for name, kind in (("infonce", "hard"), ("soft", "caption")):
            raw = [
                torch.from_numpy(values[f"loss/{side}_raw"]).double().requires_grad_()
                for side in ("image", "text")
            ]
            log_scale = torch.from_numpy(values[f"loss/log_scale_{level}"]).requires_grad_()
            unit = [F.normalize(one, dim=1) for one in raw]
            extra = [captions] if kind == "caption" else []
            value = losses.loss(kind)(*unit, log_scale.exp(), *extra)
            value.backward()
            expected = f"loss/{name}_{level}"
            np.testing.assert_allclose(value.item(), values[f"{expected}/value"], **CLOSE)
            for side, one in zip(("image", "text"), raw, strict=True):
                np.testing.assert_allclose(
                    one.grad.numpy(), values[f"{expected}/grad_{side}_raw"], **CLOSE
                )
            np.testing.assert_allclose(
                log_scale.grad.numpy(), values[f"{expected}/grad_log_scale"], **CLOSE
            )
    before = torch.from_numpy(values["loss/clamp_before"].copy())
    losses.clamp(before)
    np.testing.assert_allclose(before.numpy(), values["loss/clamp_after"], **CLOSE)


def test_learning_rates(values, meta) -> None:
    about = meta["lr"]
    found = [
        schedule.learning_rate(
            int(step), peak=about["lr"], warmup=about["warmup"], total=about["total_steps"]
        )
        for step in values["lr/steps"]
    ]
    np.testing.assert_allclose(found, values["lr/values"], rtol=1e-5, atol=1e-18)


def test_parameter_groups(texts, meta) -> None:
    from clipworks.clip import backbone

    for name, config in meta["decay"]["open_clip_config"].items():
        model = backbone.new({"quick_gelu": False, **config}, seed=0)
        named = dict(model.named_parameters())
        bare, decayed = schedule.groups(named.items(), meta["decay"]["optimizer"]["weight_decay"])
        names = {id(p): n for n, p in named.items()}
        for group, key in ((bare, "without_decay"), (decayed, "with_decay")):
            found = {names[id(p)] for p in group["params"]}
            assert found == set(texts[f"decay/{name}"][key])
        assert bare["weight_decay"] == 0


def columns(names: list[str], scores: np.ndarray, k: int) -> np.ndarray:
    """The best columns, ties by file name."""
    order = np.argsort(names, kind="stable")
    _, places = ranking.best(torch.from_numpy(scores[:, order].copy()), k)
    return order[places.numpy()]


def test_average_precision(values, texts) -> None:
    for case in ("main", "small"):
        top = columns(texts[f"ap/{case}/image_names"], values[f"ap/{case}/scores"], 10)
        np.testing.assert_array_equal(top, values[f"ap/{case}/top10"])
        judged = measures.Judged.of(
            top, texts[f"ap/{case}/image_attributes"], texts[f"ap/{case}/query_attributes"]
        )
        np.testing.assert_array_equal(judged.hits, values[f"ap/{case}/hits"])
        np.testing.assert_array_equal(judged.relevant, values[f"ap/{case}/relevant"])
        found = {
            "ap": measures.average_precision(judged),
            "ap_capped": measures.capped(judged),
            "ap_script": measures.by_script(judged),
        }
        for name, value in found.items():
            np.testing.assert_allclose(value, values[f"ap/{case}/{name}"], **CLOSE)
            mean = f"ap/{case}/{name.replace('ap', 'map', 1)}"
            np.testing.assert_allclose(value.mean(), values[mean], **CLOSE)
        some = judged.relevant > 0
        np.testing.assert_allclose(
            found["ap"][some].mean(), values[f"ap/{case}/map_without_empty"], **CLOSE
        )


def test_the_ten_best_and_the_file_that_is_handed_in(values, texts) -> None:
    names, asked = texts["top10/image_names"], texts["top10/queries"]
    top = columns(names, values["top10/scores"], 10)
    np.testing.assert_array_equal(top, values["top10/expected"])
    listed = [[names[i] for i in row] for row in top]
    assert submission.text(asked, listed) == texts["top10/submission"]
    submission.check(json.loads(texts["top10/submission"]), asked, names)
    for fault in texts["top10/faults"]:
        with pytest.raises(InputError, match=r"result|submission"):
            submission.check({"results": fault["results"]}, asked[:2], names)


def test_results_come_back_in_the_order_of_the_queries(values, texts) -> None:
    merged = submission.in_order(texts["merge/expected"], [texts["merge/cars"], texts["merge/persons"]])  # fmt: skip
    assert [one["text"] for one in merged] == texts["merge/expected"]
    assert merged == json.loads(texts["top10/submission"])["results"]
    cars_first = [one["text"] for one in [*texts["merge/cars"], *texts["merge/persons"]]]
    assert cars_first == texts["merge/cars_first"]


def test_reranking(values, meta) -> None:
    for case, first in meta["rerank"]["k"].items():
        images, mirrored, cosines = (
            torch.from_numpy(values[f"rerank/{case}/{part}"]).double()
            for part in ("images", "mirrored", "text_cosines")
        )
        some = cosines[None, :first]
        np.testing.assert_allclose(
            reranking.weights(some)[0].numpy(), values[f"rerank/{case}/weights"], **CLOSE
        )
        found = reranking.adapted(images[None, :first], some)[0].numpy()
        np.testing.assert_allclose(found, values[f"rerank/{case}/query"], rtol=1e-5, atol=1e-5)
        sign = -1.0 if values[f"rerank/{case}/query_flipped"] else 1.0
        np.testing.assert_allclose(
            found * sign, values[f"rerank/{case}/query_raw"], rtol=1e-5, atol=1e-5
        )
        similarities, order = reranking.rerank(
            images[None], mirrored[None], cosines[None], first=first
        )
        np.testing.assert_allclose(
            similarities[0].numpy(), values[f"rerank/{case}/similarities"], **CLOSE
        )
        np.testing.assert_array_equal(order[0].numpy(), values[f"rerank/{case}/order"])


def test_soups(values, meta) -> None:
    def state(prefix: str) -> soups.State:
        return {
            key.removeprefix(prefix): torch.from_numpy(value).double()
            for key, value in values.items()
            if key.startswith(prefix)
        }

    states = [state(f"soup/models/{i}/") for i in range(meta["soup"]["models"])]
    target = state("soup/target/")

    def judge(one: soups.State) -> float:
        squares = sum(float((one[name] - target[name]).square().sum()) for name in target)
        return 1 - squares / sum(value.numel() for value in target.values())

    scores = [judge(one) for one in states]
    np.testing.assert_allclose(scores, values["soup/scores"], **CLOSE)
    loads = [lambda one=one: one for one in states]
    members, tried = soups.greedy(loads, values["soup/scores"].tolist(), judge)
    soup = soups.uniform([loads[i] for i in members])
    assert members == values["soup/kept"].tolist()
    assert [t.member for t in tried] == values["soup/tried"].tolist()[-len(tried) :]
    np.testing.assert_allclose(
        [t.value for t in tried], values["soup/tried_scores"][-len(tried) :], **CLOSE
    )
    assert [t.accepted for t in tried] == values["soup/accepted"].tolist()[-len(tried) :]
    for name, value in soup.items():
        np.testing.assert_allclose(value.numpy(), values[f"soup/greedy/{name}"], **CLOSE)
    for name, value in soups.uniform(loads).items():
        np.testing.assert_allclose(value.numpy(), values[f"soup/uniform/{name}"], **CLOSE)
    np.testing.assert_allclose(judge(soup), values["soup/greedy_score"], **CLOSE)
