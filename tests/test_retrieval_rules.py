"""Rules of the retrieval solution on hand-checkable values; fast code against obvious code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from clipworks.kit.errors import InputError
from clipworks.retrieval import (
    completion,
    inventory,
    losses,
    measures,
    queries,
    ranking,
    records,
    reranking,
    schedule,
    soups,
    squares,
    submission,
    table,
    vocabulary,
)
from clipworks.retrieval.asking import Asked
from clipworks.retrieval.inventory import Car, Inventory
from clipworks.retrieval.measures import Judged
from clipworks.retrieval.params import Row
from clipworks.retrieval.records import Record

FLAGS = ",".join("10" * 10 + "1")
KNOWN = Inventory(("dark green", "red", "white"), ("SUV", "Truck"), ("Falco", "Big Truck", "Hongyan"))  # fmt: skip


@pytest.mark.parametrize(
    ("line", "field", "why"),
    [
        ("a.jpg$white Falco.", "caption", "is missing: 2 of 3"),
        ("a.jpg", "attribute", "is missing: 1 of 3"),
        ("a.jpg$white Falco.$A white Falco.$more", "line", "4 fields where 3"),
        ("$white Falco.$A white Falco.", "image", "is empty"),
        ("a.jpg$$A white Falco.", "attribute", "is empty"),
        ("a.jpg$white Falco.$", "caption", "is empty"),
        (f"a.jpg${FLAGS[:-2]}$A person.", "attribute", "has 20 flags instead of 21"),
        (f"a.jpg${FLAGS},1$A person.", "attribute", "has 22 flags instead of 21"),
        (f"a.jpg${FLAGS[:-1]}2$A person.", "attribute", "has a flag '2'; allowed are 0 and 1"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_by_number_and_field(line, field, why) -> None:
    good, (fault,) = records.read(["b.jpg$SUV.$A SUV.", line])
    assert [r.image for r in good] == ["b.jpg"]
    assert (fault.line, fault.field) == (2, field) and why in fault.why
    with pytest.raises(InputError, match=rf"labels.txt: .*skip_bad.*\n  line 2: {field} "):
        records.check([fault], "labels.txt")


def test_a_picture_that_is_named_twice_is_refused_by_name() -> None:
    good, _ = records.read(["b.jpg$SUV.$A SUV.", "c.jpg$SUV.$A SUV.", "b.jpg$SUV.$A SUV.", "", ""])
    assert records.repeated(good) == ["b.jpg"]
    with pytest.raises(InputError, match=r"named twice: b\.jpg"):
        records.check([], "labels.txt", repeats=["b.jpg"])


def test_spellings_are_read_alike() -> None:
    lines = ["a.jpg$A white Falco.$x", "a.jpg$white Falco$x", "a.jpg$white Falco.$x"]
    good, bad = records.read(lines)
    assert {r.attribute for r in good} == {"white Falco"} and bad == []


@pytest.mark.parametrize(
    ("phrase", "car"),
    [
        ("white Falco", Car("white", "Falco", None)),
        ("dark green Golden Fish", Car("dark green", "Golden Fish", None)),
        ("Sedan", Car(None, None, "Sedan")),
        ("Hongyan", Car(None, "Hongyan", None)),
        ("Golden Fish", Car(None, "Golden Fish", None)),
        ("white", Car("white", None, None)),
        ("very dark green Falco", Car("very dark", "green Falco", None)),
    ],
)
def test_letter_case_tells_colours_brands_and_types(phrase: str, car: Car) -> None:
    assert inventory.by_case(phrase) == car


def test_an_inventory_tells_a_brand_that_ends_in_a_type() -> None:
    assert inventory.find("red Big Truck Truck", KNOWN) == Car("red", "Big Truck", "Truck")
    assert inventory.find("Big Truck", KNOWN) == Car(None, "Big Truck", None)
    with pytest.raises(InputError, match="'Zorro' is no colour, brand or type"):
        inventory.find("red Zorro", KNOWN)


def test_an_inventory_is_refused_in_another_form(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"Colors": ["red"], "Types": "SUV"}')
    with pytest.raises(InputError, match=r"a\.json: must hold lists .* Colors, Types, Brands"):
        Inventory.load(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps(KNOWN.plain()))
    assert Inventory.load(tmp_path / "b.json").plain() == {
        "Colors": ["dark green", "red", "white"], "Types": ["SUV", "Truck"],
        "Brands": ["Big Truck", "Falco", "Hongyan"],
    }  # fmt: skip


def test_queries_are_of_a_car_where_a_type_or_a_brand_stands_as_a_word() -> None:
    asked = ["A red SUV.", "A man with a Falcone shirt.", "Truck-like boots.", "A dog."]
    assert queries.kinds(asked, KNOWN) == ["car", "person", "person", "person"]
    assert queries.kinds(asked, KNOWN, "substring") == ["car", "car", "car", "person"]
    assert queries.kinds(asked, Inventory((), (), ())) == ["person"] * 4


def test_queries_that_name_neither_a_car_nor_a_person_are_found() -> None:
    asked = [
        "A red SUV.",
        "A dog in the rain.",
        "She carries a bag.",
        "Two pedestrians.",
        "A manhole.",
    ]
    kinds = queries.kinds(asked, KNOWN)
    assert queries.unclear(asked, kinds) == [1, 4]


def test_the_text_that_is_encoded() -> None:
    def text(query: str, **options) -> str:
        return queries.encoded(query, **{"kind": "car", "prefix": "drop", "suffix": "", **options})

    assert text("This is an orange Falco.") == "orange Falco"
    assert text(" A SUV. ", prefix="keep", suffix="at night") == "A SUV at night"
    assert text("A man.", kind="person", suffix="at night") == "A man at night"
    asked = Asked(("A SUV.", "A man."), ("car", "person"), ("", ""))
    assert asked.encoded("drop", {"car": "at night"}) == ["SUV at night", "A man"]
    assert queries.prefix_of("Anna's SUV") == ""


@pytest.mark.parametrize("size", [(51, 40), (40, 51), (96, 48), (33, 33)])
def test_padding_makes_an_exact_square_with_the_picture_inside(size) -> None:
    image = Image.new("RGB", size, (9, 200, 90))
    square = np.asarray(squares.pad(image))
    assert square.shape == (max(size), max(size), 3)
    left, top = ((max(size) - side) // 2 for side in size)
    inside = square[top : top + size[1], left : left + size[0]]
    assert (inside == (9, 200, 90)).all()
    assert square.sum() == inside.sum()


def test_a_cmyk_picture_is_padded_black(tmp_path: Path) -> None:
    Image.new("CMYK", (20, 10), (0, 0, 0, 0)).save(tmp_path / "a.tif")
    square = np.asarray(squares.pad(squares.read(tmp_path / "a.tif")))
    assert (square[0] == 0).all() and (square[10] == 255).all()


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"a\.jpg cannot be read as a picture"):
        squares.read(tmp_path / "a.jpg")


def test_a_gap_is_filled_with_types_and_colours_and_never_with_a_brand() -> None:
    one = completion.gap("This is a white Falco.", KNOWN)
    assert one.candidates == ("This is a white Falco SUV", "This is a white Falco Truck")
    both = completion.gap("A Hongyan.", KNOWN)
    assert both.missing == ("colour", "type")
    assert both.candidates[:3] == ("A dark green Hongyan SUV", "A dark green Hongyan Truck", "A red Hongyan SUV")  # fmt: skip
    assert completion.gap("A Hongyan.", KNOWN, fill=["type"]).candidates == ("A Hongyan SUV", "A Hongyan Truck")  # fmt: skip
    whole = completion.gap("A red SUV.", KNOWN)
    assert whole.missing == () and whole.candidates == ("A red SUV",)
    for made in (one, both):
        assert not any("Falco Big" in text for text in made.candidates)


def test_choices_equal_those_of_encoding_each_picture_with_its_candidates() -> None:
    captions = ["A white Falco.", "A SUV.", "A Hongyan.", "A red Falco.", "A red SUV."] * 3
    gaps = completion.gaps(captions, KNOWN)
    assert gaps == [completion.gap(caption, KNOWN) for caption in captions]
    place = completion.distinct(gaps)
    assert sorted(place.values()) == list(range(len({c for g in gaps for c in g.candidates})))
    generator = torch.Generator().manual_seed(3)
    images = F.normalize(torch.randn(len(gaps), 8, generator=generator), dim=1)
    texts = F.normalize(torch.randn(len(place), 8, generator=generator), dim=1)
    found = completion.choose(gaps, images, texts, place, scale=20.0)
    for gap, image, one in zip(gaps, images, found, strict=True):
        cosines = np.array(
            [float(texts[place[c]].double() @ image.double()) for c in gap.candidates]
        )
        best = int(cosines.argmax())
        assert (one.chosen, one.text) == (best, f"{gap.candidates[best]}.")
        shares = np.exp(20 * cosines) / np.exp(20 * cosines).sum()
        assert one.probability == pytest.approx(shares[best], rel=1e-4)
        ranked = np.sort(cosines)[::-1]
        margin = ranked[0] - ranked[1] if len(ranked) > 1 else 0
        assert one.margin == pytest.approx(margin, abs=1e-6)


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


def test_soft_targets_equal_hard_ones_where_all_captions_differ() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(6, 8, generator=generator), dim=1) for _ in range(2))
    scale = torch.tensor(30.0)
    hard = losses.loss("hard")(images, texts, scale)
    torch.testing.assert_close(losses.loss("caption")(images, texts, scale, torch.arange(6)), hard)
    same = losses.loss("attribute")(images, texts, scale, torch.tensor([0, 0, 1, 2, 3, 4]))
    assert not torch.isclose(same, hard)
    assert losses.soft_targets(torch.tensor([4, 7, 4])).tolist() == [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]]  # fmt: skip


def test_sharing_targets_among_the_same_captions_changes_neither_loss_nor_gradient() -> None:
    """Equal captions have equal text features; a mean of equal rows is each of them."""
    generator = torch.Generator().manual_seed(1)
    alike = torch.tensor([0, 1, 0, 2, 0, 1])
    found = {}
    for targets in ("hard", "caption"):
        images = torch.randn(6, 8, generator=generator.manual_seed(2), dtype=torch.float64)
        texts = torch.randn(3, 8, generator=generator, dtype=torch.float64)
        learned = [images.requires_grad_(), texts.requires_grad_()]
        extra = [alike] if targets == "caption" else []
        unit = F.normalize(learned[0], dim=1), F.normalize(learned[1], dim=1)[alike]
        value = losses.loss(targets)(*unit, torch.tensor(20.0, dtype=torch.float64), *extra)
        value.backward()
        found[targets] = [value.detach(), *(one.grad for one in learned)]
    for hard, shared in zip(*found.values(), strict=True):
        torch.testing.assert_close(hard, shared, rtol=1e-10, atol=1e-12)


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    rates = [schedule.learning_rate(i, peak=2.0, warmup=4, total=20) for i in range(21)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0] and rates[4] == 2.0
    assert rates[12] == pytest.approx(1.0) and rates[20] == pytest.approx(0)


def test_a_greedy_soup_keeps_what_helps_and_leaves_its_parts_alone() -> None:
    states = [{"w": torch.tensor([v]), "count": torch.tensor(3)} for v in (1.0, 3.0, 9.0, 1.0)]
    values = [-abs(float(s["w"]) - 2) for s in states]
    judge = lambda s: -abs(float(s["w"]) - 2)  # noqa: E731
    loads = [lambda s=s: s for s in states]
    soup, members, tried = soups.greedy(loads, values, judge)
    assert float(soup["w"]) == 2.0 and members == [0, 1] and int(soup["count"]) == 3
    assert [(t.member, t.accepted) for t in tried] == [(1, True), (3, False), (2, False)]
    assert [float(s["w"]) for s in states] == [1.0, 3.0, 9.0, 1.0]
    assert float(soups.uniform(loads)["w"]) == 3.5


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
    assert table.best_on_validation({"a": 0.5, "b": 0.5}) == "a"


def test_a_persons_sentence_says_all_of_its_flags() -> None:
    rng = np.random.default_rng(0)
    assert len(vocabulary.FLAGS) == records.FLAGS == len(set(vocabulary.FLAGS))
    for _ in range(50):
        flags = vocabulary.person(rng)
        said = vocabulary.sentence(flags, rng)
        assert all(word in said for word in vocabulary.words_of(flags))
        assert vocabulary.flags_of(vocabulary.words_of(flags)) == flags
        read, bad = records.read([f"1.jpg${flags}${said}"])
        assert bad == [] and read[0] == Record("person", "1.jpg", flags, said)
    assert vocabulary.caption("orange Falco", rng).split("orange")[0] in ("This is an ", "An ")
