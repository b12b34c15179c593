"""Whole seeds: a project that is said to be of another seed is of it."""

from pathlib import Path

import pytest
import yaml

from bench.seeded import set_seed

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["params.yaml", *map(str, ROOT.glob("solutions/*/params.yaml"))])
def test_a_whole_seed_is_another_seed(name, tmp_path) -> None:
    set_seed(ROOT / name, tmp_path / "a.yaml", 5)
    set_seed(tmp_path / "a.yaml", tmp_path / "b.yaml", 7)  # also where it was not 0
    before, after = (yaml.safe_load(p.read_text()) for p in (ROOT / name, tmp_path / "b.yaml"))
    assert after["base"].pop("seed") == 7
    before["base"].pop("seed")
    assert before == after
    (tmp_path / "c.yaml").write_text("base:\n  device: cpu\nother:\n  seed: 0\n")
    with pytest.raises(ValueError, match=r"c\.yaml has no line"):
        set_seed(tmp_path / "c.yaml", tmp_path / "d.yaml", 1)
