"""Windows read off maps: equal to crops where the two must agree, and made once per size."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from seeing import HOW, run, work
from test_crops import photograph
from torch.nn import functional as F

from clipworks.clip import visual
from clipworks.clip.backbone import Backbone
from clipworks.windows import crops, maps, stored
from clipworks.windows.boxes import Box, boxes
from clipworks.windows.params import Infer, Maps

FINE = Maps(resolution=1.0, density=1.0, tolerance=0.0)  # the grid of the tiny CLIP: one cell


def made(clip, image, found, how, largest=2**40, **changes) -> list[maps.Part]:
    options = {"size": clip.image_size, "largest": largest, **changes}
    return maps.parts(image, found, how, options.pop("reader", maps.reader(clip, how)), **options)


@torch.inference_mode()
def features(
    clip, parts: list[maps.Part], count: int, how: Maps = FINE
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each part alone; windows in the order of their boxes."""
    found = {}
    for part in parts:
        x = visual.normalise(part.pixels[None], clip.mean, clip.std)
        reader = maps.reader(clip, how)
        near = maps.corners(part, torch.device("cpu"))
        pooled, dense = reader.read(reader.project(x), *near)
        found |= dict(zip(part.windows, zip(pooled[0], dense[0], strict=True), strict=True))
    assert sorted(found) == list(range(count))
    both = [found[i] for i in range(count)]
    return torch.stack([p for p, _ in both]), torch.stack([d for _, d in both])


@torch.inference_mode()
def of_crops(clip, image, found, size=None) -> tuple[torch.Tensor, torch.Tensor]:
    cut = crops.cut(image, found, size=size or clip.image_size, resize_mode="shortest")
    x = visual.normalise(cut, clip.mean, clip.std)
    return visual.features(clip.model.visual, x, positional=False)


@pytest.mark.parametrize(("side", "size", "samples"), [(32, 32, 1), (75, 32, 1), (150, 96, 3)])
def test_the_whole_image_has_the_features_that_a_crop_of_it_has(clip, side, size, samples) -> None:
    image, whole = crops.pixels(photograph(side, side)), [Box(0, 0, side, side)]
    how = Maps(resolution=1.0, density=1.0, tolerance=0.0)
    pooled, dense = features(clip, made(clip, image, whole, how, size=size), 1)
    expected = of_crops(clip, image, whole, size)
    assert dense.shape == (1, samples**2, 32)
    torch.testing.assert_close(pooled, expected[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(dense, expected[1], atol=1e-4, rtol=0)


def test_windows_equal_crops_where_no_border_is_padded(clip) -> None:
    """Convolutions that go round the border see, in a picture of 3 x 3 equal tiles, what they see in one."""
    clip = copy.deepcopy(clip)
    for module in clip.model.visual.modules():
        if isinstance(module, torch.nn.Conv2d) and module.padding[0]:
            module.padding_mode = "circular"
    tile = crops.pixels(photograph(96, 96))
    found = [
        Box(x, y, x + 96, y + 96) for x, y in ((0, 0), (96, 96), (192, 192), (64, 0), (96, 32))
    ]
    how = Maps(resolution=1.0, density=1.0, tolerance=0.0)
    pooled, dense = features(clip, made(clip, tile.repeat(1, 3, 3), found, how, size=96), 5)
    expected_pooled, expected = of_crops(clip, tile, [Box(0, 0, 96, 96)], 96)
    expected = expected[0].unflatten(0, (3, 3))
    for index, shift in enumerate([(0, 0), (0, 0), (0, 0), (0, -2), (-1, 0)]):
        moved = expected.roll(shift, (0, 1)).flatten(0, 1)
        torch.testing.assert_close(pooled[index], expected_pooled[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(dense[index], moved, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
def test_projecting_before_sampling_equals_projecting_the_samples(clip, samples) -> None:
    image = crops.pixels(photograph(90, 61))
    found, reader = boxes(90, 61, [2]), maps.reader(clip, FINE)
    how = Maps(resolution=1.7, density=samples / 1.7, tolerance=0.3)
    for part in made(clip, image, found, how):
        pooled, dense = features_of_samples(clip, part)
        x = visual.normalise(part.pixels[None], clip.mean, clip.std)
        with torch.inference_mode():
            got = reader.read(reader.project(x), *maps.corners(part, torch.device("cpu")))
        torch.testing.assert_close(got[0][0], pooled, atol=1e-5, rtol=0)
        torch.testing.assert_close(got[1][0], dense, atol=1e-5, rtol=0)


@torch.inference_mode()
def features_of_samples(clip, part: maps.Part) -> tuple[torch.Tensor, torch.Tensor]:
    """The obvious way: torch samples the map, and the pool takes the samples as a crop's positions."""
    tower = clip.model.visual
    found = visual.trunk(tower, visual.normalise(part.pixels[None], clip.mean, clip.std))
    rows, columns = found.shape[2:]
    pooled, dense = [], []
    for across, down in zip(part.across, part.down, strict=True):
        y, x = torch.meshgrid(
            (down * 2 + 1) / rows - 1, (across * 2 + 1) / columns - 1, indexing="ij"
        )
        grid = torch.stack([x, y], dim=-1)[None]
        sampled = F.grid_sample(found, grid, align_corners=False, padding_mode="border")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(visual, "trunk", lambda *_, sampled=sampled: sampled)
            p, d = visual.features(tower, torch.zeros(1, 3, 32, 32), positional=False)
        pooled.append(p[0])
        dense.append(d[0])
    return torch.stack(pooled), torch.stack(dense)


def test_a_slender_window_is_read_at_the_centre_square_that_a_crop_keeps(clip) -> None:
    image = crops.pixels(photograph(160, 120))
    slender, square = (
        [Box(0, 20, 160, 100), Box(7, 0, 60, 120)],
        [Box(40, 20, 120, 100), Box(7, 33, 60, 86)],
    )
    # What a crop keeps, to the pixel.
    assert [maps._square(box) for box in slender] == [(40, 20, 80), (7, 33.5, 53)]
    size = clip.image_size
    cut = crops.cut(image, [slender[0], square[0]], size=size, resize_mode="shortest").int()
    assert (cut[0] - cut[1]).abs().float().mean() < 2
    for how in (FINE, Maps(resolution=2.0, density=1.5, tolerance=0.5)):
        (a, b) = (features(clip, made(clip, image, some[:1], how), 1) for some in (slender, square))
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_sizes_within_the_tolerance_share_the_largest_ones_map() -> None:
    found = [Box(0, 0, side, 2 * side) for side in (50, 100, 91, 90, 52)]
    assert list(maps._sizes(found, 0.0)) == [(100, [1]), (91, [2]), (90, [3]), (52, [4]), (50, [0])]
    assert list(maps._sizes(found, 0.1)) == [(100, [1, 2]), (90, [3]), (52, [0, 4])]
    coco = [Box(0, 0, 640, 480), *boxes(640, 480, [2, 3, 4])]
    assert [side for side, _ in maps._sizes(coco, 0.01)] == [480, 427, 320, 240, 213, 160, 120]


@pytest.mark.parametrize("size", [(640, 480), (333, 500), (5, 5), (1, 1), (900, 20), (40, 700)])
def test_points_lie_where_the_windows_do_on_a_map_of_any_size(clip, size) -> None:
    image = crops.pixels(photograph(*size))
    found = [Box(0, 0, *size), *boxes(*size, [2, 3])]
    how = Maps(resolution=1.5, density=2, tolerance=0.1)
    seen = []
    for part in made(clip, image, found, how):
        assert part.pixels.shape[1] % 32 == 0 and part.pixels.shape[2] % 32 == 0
        rows, columns = (side // 32 for side in part.pixels.shape[1:])
        index, share = maps.corners(part, torch.device("cpu"))
        assert index.min() >= 0 and index.max() < rows * columns
        torch.testing.assert_close(share.sum(dim=-1), torch.ones(index.shape[:2]))
        # The mean of a window's points is its centre, but for the clamp at the borders.
        middle = (share * (index % columns)).sum(dim=-1).mean(dim=1)
        torch.testing.assert_close(middle, part.across.mean(dim=1), atol=1e-4, rtol=1e-4)
        seen += part.windows
    assert sorted(seen) == list(range(len(found)))


@pytest.mark.parametrize(("size", "scale"), [((500, 60), 3), ((300, 280), 10)])
def test_tiles_change_nothing_but_memory(clip, size, scale) -> None:
    image = crops.pixels(photograph(*size))
    found = [Box(0, 0, *size), *boxes(*size, [scale])]
    how = Maps(resolution=1.0, density=2, tolerance=0.0)
    everything = maps.reader(clip, how)
    everything.reach = 1000
    whole = made(clip, image, found, how, reader=everything)
    largest = 49 * 32**2
    tiles = made(clip, image, found, how, largest=largest)
    assert len(tiles) > len(whole) and max(p.pixels[0].numel() for p in tiles) <= largest
    for a, b in zip(
        features(clip, whole, len(found)), features(clip, tiles, len(found)), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_a_map_that_every_window_needs_whole_is_read_once_however_small_the_batch(clip) -> None:
    image = crops.pixels(photograph(300, 280))
    found = [Box(0, 0, 300, 280), *boxes(300, 280, [3])]
    once = made(clip, image, found, FINE)
    in_small = made(clip, image, found, FINE, largest=1)
    assert [part.windows for part in in_small] == [part.windows for part in once]


@pytest.mark.parametrize("size", [7, 512])
def test_the_batch_size_does_not_change_the_logits(clip, models, folder, tmp_path, size) -> None:
    run(clip, models, folder, tmp_path / "a", tmp_path / "sa", batch_size=40, **HOW)
    bad = run(clip, models, folder, tmp_path / "b", tmp_path / "sb", batch_size=size, **HOW)
    assert bad.keys() == {"empty.jpg", "gone.png"}
    for path in (tmp_path / "a").glob("*.safetensors"):
        a, b = load_file(path), load_file(tmp_path / "b" / path.name)
        assert torch.equal(a["boxes"], b["boxes"]) and torch.equal(a["offsets"], b["offsets"])
        for key in ("logits", "similarities"):
            torch.testing.assert_close(a[key], b[key], atol=1e-5, rtol=1e-4)


def test_images_scored_together_have_the_logits_that_they_have_alone(
    clip, models, folder
) -> None:  # fmt: skip
    together = work(clip, models, **HOW)
    cuts = [together.tower.cut(f"{i} ü.png", folder / f"{i} ü.png") for i in range(5)]
    found = together.run(cuts)
    offsets = found["offsets"].tolist()
    for index, cut in enumerate(cuts):
        alone = together.run([cut])
        rows = slice(offsets[index], offsets[index + 1])
        torch.testing.assert_close(found["logits"][rows], alone["logits"], atol=1e-5, rtol=1e-4)
        assert torch.equal(found["boxes"][rows], alone["boxes"])
    expected = features(clip, list(cuts[1].parts), len(cuts[1].boxes))
    for a, b in zip(together.tower.encode([cuts[1]]), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_maps_store_what_crops_store(clip, models, folder, tmp_path) -> None:
    run(clip, models, folder, tmp_path / "crops", tmp_path / "a")
    run(clip, models, folder, tmp_path / "maps", tmp_path / "b", **HOW)
    two = [list(stored.read(tmp_path / way)) for way in ("crops", "maps")]
    for a, b in zip(*two, strict=True):
        assert a.names == b.names and a.logits.shape == b.logits.shape
        assert a.similarities.shape == b.similarities.shape
    manifests = {(tmp_path / way / "manifest.json").read_text() for way in ("crops", "maps")}
    assert len(manifests) == 1


@pytest.mark.parametrize("size", [(2000, 40), (20, 1500)])
def test_panoramas_and_strips_are_read_within_the_batch(clip, models, tmp_path, size) -> None:
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(tmp_path / "long.png")
    chosen = work(clip, models, **HOW, scales=[2, 3, 4], batch_size=64)
    cut = chosen.tower.cut("long.png", tmp_path / "long.png")
    assert max(part.pixels[0].numel() for part in cut.parts) <= 64 * 32**2
    found = chosen.run([cut])
    assert found["logits"].shape[0] == len(cut.boxes) and found["logits"].isfinite().all()


def test_maps_refuse_a_place_in_the_image() -> None:
    import yaml

    section = yaml.safe_load((Path(__file__).parent.parent / "params.yaml").read_text())["infer"]
    with pytest.raises(ValueError, match=r"positional: true needs crops"):
        Infer.model_validate({**section, "windows": ["crops", "maps"], "positional": True})


def test_maps_refuse_towers_and_resize_modes_by_name(clip) -> None:
    squash = Backbone(**{**vars(clip), "resize_mode": "squash", "name": "models/backbone"})
    with pytest.raises(ValueError, match=r"models/backbone resizes by 'squash'.*use crops"):
        maps.reader(squash, FINE)
    vit = Backbone(**{**vars(clip), "model": torch.nn.Module(), "name": "ViT-B-32"})
    vit.model.visual = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"ViT-B-32 has the visual tower Linear"):
        maps.reader(vit, FINE)
