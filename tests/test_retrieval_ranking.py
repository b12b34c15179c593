"""Ten pictures of a query: how they are found, judged, ranked again and handed in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clipworks.kit.errors import InputError
from clipworks.retrieval import (
    measures,
    ranking,
    reranking,
    submission,
    table,
)
from clipworks.retrieval.measures import Judged
from clipworks.retrieval.params import Row


def obvious_ap(top: list[str], gallery: list[str], wanted: str) -> float:
    """The organisers' formula as a loop."""
    relevant = gallery.count(wanted)
    found, total, before = 0, 0.0, 0.0
    for i, attribute in enumerate(top[:10], start=1):
        found += attribute == wanted
        recall = found / relevant if relevant else 0.0
        total += found / i * (recall - before)
        before = recall
    return total


def test_average_precision_equals_the_formula_and_the_script_is_another() -> None:
    rng = np.random.default_rng(0)
    gallery = [str(v) for v in rng.integers(0, 6, 40)]
    asked = [str(v) for v in rng.integers(0, 8, 30)]  # some ask for what is not there
    top = np.stack([rng.permutation(40)[:10] for _ in asked])
    judged = Judged.of(top, gallery, asked)
    expected = [obvious_ap([gallery[i] for i in row], gallery, want) for row, want in zip(top, asked, strict=True)]  # fmt: skip
    np.testing.assert_allclose(measures.average_precision(judged), expected, atol=1e-12)
    one = Judged.of(np.array([[0, 1, 2]]), ["a", "b", "b", "a", "a"], ["a"])
    assert measures.average_precision(one)[0] == pytest.approx(1 / 3)
    assert measures.capped(one)[0] == pytest.approx(1 / 3)
    assert measures.by_script(one)[0] == pytest.approx(1, abs=1e-5)
    fifteen = Judged.of(np.arange(10)[None], ["a"] * 15, ["a"])
    assert measures.average_precision(fifteen)[0] == pytest.approx(2 / 3)
    assert measures.capped(fifteen)[0] == 1
    third = Judged.of(np.array([[1, 0, 2]]), ["a", "b", "a"], ["a"])
    assert [measures.recall(third, at)[0] for at in (1, 2)] == [False, True]


def obvious_search(queries: np.ndarray, gallery: np.ndarray, k: int) -> np.ndarray:
    """Everything with everything, sorted as a whole; equal ones in order."""
    scores = queries @ gallery.T
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("block", [7, 32, 1000])
def test_blocks_find_what_sorting_everything_finds_ties_included(block, monkeypatch) -> None:
    monkeypatch.setattr(ranking, "GALLERY", block)
    monkeypatch.setattr(ranking, "QUERIES", 5)
    rng = np.random.default_rng(1)
    # Whole numbers, so that sums are exact and many are equal.
    gallery = rng.integers(-1, 2, (60, 4)).astype(np.float32)
    asked = rng.integers(-1, 2, (23, 4)).astype(np.float32)
    asked[0] = 0  # everything is equal
    for k in (1, 10, 60, 80):
        values, places = ranking.search(torch.from_numpy(asked), torch.from_numpy(gallery), k)
        expected = obvious_search(asked, gallery, k)
        np.testing.assert_array_equal(places.numpy(), expected)
        np.testing.assert_array_equal(
            values.numpy(), np.take_along_axis(asked @ gallery.T, expected, axis=1)
        )


def test_the_adapted_query_points_where_its_pictures_are_whatever_sign_a_component_has() -> None:
    generator = torch.Generator().manual_seed(0)
    base = F.normalize(torch.randn(1, 1, 16, generator=generator), dim=2)
    features = base + 0.2 * torch.randn(5, 6, 16, generator=generator)
    cosines = torch.rand(5, 6, generator=generator).sort(dim=1, descending=True).values
    for some in (features, -features):
        found = reranking.adapted(some, cosines)
        assert (F.cosine_similarity(found, some.mean(dim=1)) > 0.5).all()
    found = reranking.adapted(features.double(), cosines.double())
    for i in range(5):  # the obvious way: a decomposition of the whole matrix
        matrix = (
            features[i].double() * reranking.weights(cosines[i : i + 1].double())[0][:, None]
        ).T
        left, singular, _ = torch.linalg.svd(matrix - matrix.mean(dim=0), full_matrices=False)
        expected = left[:, 0] * singular[0]
        expected = expected * torch.sign(expected @ features[i].double().mean(dim=0))
        torch.testing.assert_close(found[i], expected, rtol=1e-6, atol=1e-8)
    equal = reranking.weights(torch.full((1, 3), 0.5))
    assert equal.tolist() == [[1.0, 1.0, 1.0]]


def test_a_mirror_image_counts_where_it_fits_better() -> None:
    features = torch.tensor([[[1.0, 0.1], [1.0, 0.0], [0.1, 1.0]]])
    mirrored = features.clone()
    mirrored[0, 2] = torch.tensor([1.0, 0.05])
    cosines = torch.tensor([[0.9, 0.8, 0.1]])
    plain, _ = reranking.rerank(features, features, cosines, first=2)
    both, order = reranking.rerank(features, mirrored, cosines, first=2)
    assert both[0, 2] > plain[0, 2] and (both >= plain - 1e-6).all()
    assert sorted(order[0].tolist()) == [0, 1, 2]


def test_a_submission_is_checked_before_it_is_handed_in(tmp_path: Path) -> None:
    asked, gallery = ["A red SUV.", "A man."], ["a.jpg", "b.jpg", "c.jpg"]
    names = [["a.jpg", "c.jpg", "b.jpg"], ["b.jpg", "a.jpg", "c.jpg"]]
    submission.write(tmp_path / "s.json", asked, names, gallery)  # three of three are enough
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["results"][0] == {"text": "A red SUV.", "image_names": names[0]}
    for change, message in [
        (lambda c: c["results"].reverse(), "result 1 is of 'A man.', query 1 is 'A red SUV.'"),
        (lambda c: c["results"].pop(), "1 results for 2 queries"),
        (lambda c: c["results"][1]["image_names"].pop(), "result 2 has 2 names instead of 3"),
        (lambda c: c["results"][1]["image_names"].__setitem__(0, "a.jpg"), "result 2 names a.jpg twice"),
        (lambda c: c["results"][1]["image_names"].__setitem__(0, "d.jpg"), "'d.jpg', which is not in"),
    ]:  # fmt: skip
        changed = json.loads((tmp_path / "s.json").read_text())
        change(changed)
        with pytest.raises(InputError, match=message):
            submission.check(changed, asked, gallery)
    with pytest.raises(InputError, match=r"no result for the query 'A dog\.'"):
        submission.in_order(["A dog."], [[]])


def test_rows_are_held_against_each_other_over_queries() -> None:
    row = {"what": "x", "model": "backbone", "square": True, "prefix": "drop", "suffix": {}, "rerank": 0}  # fmt: skip
    rows = {"a": Row(against="", **row), "b": Row(against="a", **row)}
    rng = np.random.default_rng(0)
    gallery, asked = [str(v) for v in rng.integers(0, 5, 50)], [str(v % 5) for v in range(40)]
    good = np.stack([np.argsort([g != a for g in gallery], kind="stable")[:10] for a in asked])
    poor = np.stack([rng.permutation(50)[:10] for _ in asked])
    judged = {n: Judged.of(top, gallery, asked) for n, top in (("a", poor), ("b", good))}
    kinds = ["car"] * 10 + ["person"] * 30
    board = table.board(rows, judged, {"a": 0.5, "b": 0.25}, kinds)
    assert board["b"]["p"] < 0.001 and "p" not in board["a"]
    assert board["b"]["recall@1"] == 100 and board["a"]["validation"] == 50
    both = board["b"]["mAP@10_cars"] * 10 + board["b"]["mAP@10_persons"] * 30
    assert both / 40 == pytest.approx(board["b"]["mAP@10"], abs=0.01)
    assert table.signed_rank(np.ones(4), np.ones(4)) == 1.0
    some = np.zeros(30)
    some[0] = 1.0
    assert table.signed_rank(some, np.zeros(30)) == 1.0  # one query says nothing
    for many, exact in ((4, 0.125), (5, 0.0625), (6, 0.03125)):  # all better: 2 of 2 ** many signs
        some = np.arange(1, many + 1) / 10
        assert table.signed_rank(some, np.zeros(many)) == pytest.approx(exact)
    assert table.best_on_validation({"a": 0.5, "b": 0.5}) == "a"
