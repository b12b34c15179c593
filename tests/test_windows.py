"""Windows: counts, borders, spacing."""

import pytest

from clipworks.windows.boxes import Box, boxes


@pytest.mark.parametrize(("scale", "count"), [(2, 40), (3, 100), (4, 164)])
@pytest.mark.parametrize("size", [(640, 480), (333, 500), (224, 224), (1024, 97)])
def test_each_scale_has_its_number_of_distinct_windows(
    scale: int, count: int, size: tuple[int, int]
) -> None:
    found = boxes(*size, [scale])
    assert len(found) == len(set(found)) == count


def test_three_scales_have_304_windows() -> None:
    assert len(boxes(640, 480, [2, 3, 4])) == 40 + 100 + 164


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (64, 48), (1000, 3)])
def test_windows_stay_inside_and_are_never_empty(size: tuple[int, int]) -> None:
    for scale in (2, 3, 4):
        found = boxes(*size, [scale])
        assert len(found) == len(set(found))
    for box in boxes(*size, [2, 3, 4]):
        assert 0 <= box.left < box.right <= size[0]
        assert 0 <= box.top < box.bottom <= size[1]


def test_windows_of_a_grid_touch_both_edges_and_are_evenly_spaced() -> None:
    squares = [box for box in boxes(600, 600, [2]) if box.right - box.left == box.bottom - box.top]
    lefts = sorted({box.left for box in squares})
    assert lefts == [0, 100, 200, 300]
    assert max(box.right for box in squares) == 600


def test_shapes_are_the_five_and_their_kin_from_scale_three() -> None:
    shapes = {(b.right - b.left, b.bottom - b.top) for b in boxes(600, 600, [3])}
    assert shapes == {
        (200, 200),
        (200, 400),
        (400, 200),
        (200, 300),
        (300, 200),
        (400, 600),
        (600, 400),
    }


def test_a_window_as_long_as_the_image_moves_only_across() -> None:
    tall = [b for b in boxes(600, 600, [2]) if (b.right - b.left, b.bottom - b.top) == (300, 600)]
    assert len(tall) == 8 and {b.top for b in tall} == {0}


def test_a_scale_below_two_is_refused() -> None:
    with pytest.raises(ValueError, match="scale 1"):
        boxes(10, 10, [1])
    assert boxes(4, 4, []) == []
    assert boxes(1, 1, [2]) == [Box(0, 0, 1, 1)]


def test_windows_of_every_shape_at_scale_three_by_hand() -> None:
    found: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for box in boxes(1200, 600, [3]):
        lefts, tops = found.setdefault((box.right - box.left, box.bottom - box.top), ([], []))
        lefts += [box.left] if box.left not in lefts else []
        tops += [box.top] if box.top not in tops else []
    six = [0, 160, 320, 480, 640, 800]
    assert found == {
        (400, 200): (six, [0, 80, 160, 240, 320, 400]),
        (400, 400): (six, [0, 100, 200]),
        (400, 300): ([0, 267, 533, 800], [0, 300]),
        (800, 600): ([0, 80, 160, 240, 320, 400], [0]),  # as high as the image
        (800, 200): ([0, 200, 400], [0, 80, 160, 240, 320, 400]),
        (600, 200): ([0, 600], [0, 133, 267, 400]),
        (1200, 400): ([0], [0, 40, 80, 120, 160, 200]),  # as wide as the image
    }


def test_windows_are_listed_row_by_row() -> None:
    assert boxes(120, 60, [2])[:5] == [
        Box(0, 0, 60, 30),
        Box(20, 0, 80, 30),
        Box(40, 0, 100, 30),
        Box(60, 0, 120, 30),
        Box(0, 10, 60, 40),
    ]


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_empty_image_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"an image of {size[0]} x {size[1]} pixels has no window"):
        boxes(*size, [2])
