"""Scratch state: whose it is, and that it comes back whole."""

import os
from pathlib import Path

import torch
from torch import nn

from clipworks.kit import checkpoint


def stepped(seed: int) -> tuple[nn.Linear, torch.optim.SGD]:
    """A layer after one step, with momentum."""
    torch.manual_seed(seed)
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return layer, optimizer


def test_state_comes_back_as_it_was(tmp_path) -> None:
    layer, optimizer = stepped(0)
    best = {"weight": torch.tensor([1.0, 2.0])}
    checkpoint.save_state(
        tmp_path / "s", {"student": layer, "teacher": None}, best, optimizer, {"epoch": 3}
    )
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["state.safetensors"]
    other, _ = stepped(1)
    again = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)  # as a new process has it
    found = {"weight": torch.zeros(2)}
    modules = {"student": other, "teacher": None}
    assert checkpoint.load_state(tmp_path / "s", modules, found, again) == {"epoch": 3}
    assert found["weight"].tolist() == [1.0, 2.0]
    assert torch.equal(other.weight, layer.weight) and torch.equal(other.bias, layer.bias)
    for one, two in zip(layer.parameters(), other.parameters(), strict=True):
        momentum = optimizer.state[one]["momentum_buffer"]
        assert torch.equal(again.state[two]["momentum_buffer"], momentum)


def test_two_modules_do_not_mix_and_nothing_kept_is_nothing_found(tmp_path) -> None:
    (student, optimizer), (teacher, _) = stepped(0), stepped(1)
    old = {"student": student, "teacher": teacher}
    checkpoint.save_state(tmp_path, old, {}, optimizer, {})
    (one, fresh), (two, _) = stepped(2), stepped(3)
    assert checkpoint.load_state(tmp_path / "none", {"student": one}, {}, fresh) == {}
    checkpoint.load_state(tmp_path, {"student": one, "teacher": two}, {}, fresh)
    assert torch.equal(one.weight, student.weight) and torch.equal(two.weight, teacher.weight)


def test_state_belongs_to_the_librarys_code_and_to_no_other(tmp_path, monkeypatch) -> None:
    library = tmp_path / "library"
    for room in ("library/kit", "library/windows", "tests"):
        (tmp_path / room).mkdir(parents=True)
    monkeypatch.setattr(checkpoint, "__file__", str(library / "kit/checkpoint.py"))
    (library / "windows/boxes.py").write_text("a = 1\n")
    first = checkpoint.scratch_folder("s", {}, [])
    (tmp_path / "tests/test_boxes.py").write_text("a = 1\n")
    (library / "windows/notes.txt").write_text("a\n")
    assert checkpoint.scratch_folder("s", {}, []) == first
    (library / "windows/boxes.py").write_text("a = 2\n")
    assert checkpoint.scratch_folder("s", {}, []) != first


def test_the_order_of_settings_and_inputs_does_not_matter(tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    first = checkpoint.scratch_folder("train/base", {"a": 1, "b": one}, [one, two])
    assert checkpoint.scratch_folder("train/base", {"b": one, "a": 1}, [two, one]) == first
    assert first.parent == Path("scratch/train")
    assert len(first.name) == len("base-") + 16 and first.name.startswith("base-")


def test_files_are_read_up_to_the_limit_and_known_by_size_and_time_above(
    tmp_path, monkeypatch
) -> None:
    path = tmp_path / "weights"
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "none/kit/checkpoint.py"))

    def folder(content: str, time: int) -> Path:
        path.write_text(content)
        os.utime(path, ns=(time, time))
        return checkpoint.scratch_folder("s", {}, [path])

    monkeypatch.setattr(checkpoint, "LARGE", 3)
    assert folder("abc", 1) == folder("abc", 2) != folder("abd", 2)
    assert folder("abcd", 1) == folder("abce", 1) != folder("abce", 2)
    monkeypatch.undo()
    assert checkpoint.LARGE == 268_435_456  # 256 MiB


def test_clearing_forgets_a_stages_old_states_and_no_others(tmp_path) -> None:
    names = [
        f"{stage}-{n * 16}"
        for stage, n in (("base", "1"), ("base", "2"), ("baseline", "3"), ("ema", "4"))
    ]
    for name in [*names, f"base-large-{'5' * 16}"]:
        (tmp_path / name).mkdir()
    checkpoint.clear(tmp_path / names[0])
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f"base-large-{'5' * 16}", *names[2:]]
    checkpoint.clear(tmp_path / f"side-by-side-{'5' * 16}")  # nothing there
