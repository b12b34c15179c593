"""Labels, queries, squares, completion and losses of the retrieval solution, on hand-checkable values."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from clipworks.kit import images
from clipworks.kit.errors import InputError
from clipworks.retrieval import (
    completion,
    inventory,
    losses,
    queries,
    records,
    schedule,
    soups,
    squares,
    vocabulary,
)
from clipworks.retrieval.asking import Asked
from clipworks.retrieval.inventory import Car, Inventory
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


def test_a_picture_that_is_named_twice_is_refused_with_both_lines() -> None:
    good = "b.jpg$SUV.$A SUV."
    lines = ["b.jpg$", good, "c.jpg$SUV.$A SUV.", good, "", ""]
    _, bad = records.read(lines)
    repeats = records.repeated(lines, bad)  # line 1 cannot be read, and does not count
    with pytest.raises(InputError, match=r"line 4: image 'b\.jpg' stands in line 2 already"):
        records.check(repeats, "labels.txt")


@pytest.mark.parametrize("caption", ["A .", "this is an .", "an", "."])
def test_a_caption_that_is_a_prefix_alone_says_nothing(caption: str) -> None:
    assert records.read([f"a.jpg$white Falco.${caption}"])[1][0].why.startswith("says nothing")


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
    untidy = {slot: [f" {n} " for n in names] * 2 for slot, names in KNOWN.plain().items()}
    (tmp_path / "b.json").write_text(json.dumps(untidy))
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
    assert text("this is an orange Falco.") == text("an orange Falco.") == "orange Falco"


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
    square = np.asarray(squares.pad(images.as_stored(tmp_path / "a.tif")))
    assert (square[0] == 0).all() and (square[10] == 255).all()


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"a\.jpg cannot be read as a picture"):
        images.as_stored(tmp_path / "a.jpg")


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


def test_captions_that_say_more_than_labels_do_stay_as_they_are() -> None:
    own, known = completion.gaps(["A white Falco in the rain.", "A red SUV."], KNOWN)
    assert own.missing == (completion.UNREAD,) and own.candidates == ("A white Falco in the rain",)
    assert known == completion.gap("A red SUV.", KNOWN)
    bare = inventory.of(["white Falco", "red SUV"])
    assert completion.gaps([], bare) == []
    with pytest.raises(
        InputError,
        match=r"complete\.fill: there is no type to fill in, .* take 'type' out of it",
    ):
        completion.gaps(["A white Falco."], bare)
    assert completion.gaps(["A white Falco."], bare, fill=["colour"])[0].missing == ()


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
    members, tried = soups.greedy(loads, values, judge)
    soup = soups.uniform([loads[i] for i in members])
    assert float(soup["w"]) == 2.0 and members == [0, 1] and int(soup["count"]) == 3
    assert [(t.member, t.accepted) for t in tried] == [(1, True), (3, False), (2, False)]
    assert [float(s["w"]) for s in states] == [1.0, 3.0, 9.0, 1.0]
    assert float(soups.uniform(loads)["w"]) == 3.5


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
