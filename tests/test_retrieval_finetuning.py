"""Fine-tuning and searching: killed, spread over processes, with parts that stay as they are."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from retrieving import Killed, run
from safetensors.torch import load_file
from thimble import set_params

from clipworks.clip import backbone, encoding
from clipworks.kit import runtime
from clipworks.retrieval import dataset, finetuning, validation
from clipworks.retrieval.params import Finetune


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(own_street, monkeypatch) -> None:
    shutil.rmtree("scratch", ignore_errors=True)
    whole = load_file("models/finetune/soft/open_clip_model.safetensors")
    curve = Path("data/finetune/soft.tsv").read_bytes()
    epochs: list[int] = []
    epoch = finetuning.Finetuning._epoch

    def counted(self, number: int, bar) -> float:
        epochs.append(number)
        if len(epochs) == 2:
            raise Killed
        return epoch(self, number, bar)

    monkeypatch.setattr(finetuning.Finetuning, "_epoch", counted)
    with pytest.raises(Killed):
        run("finetune@soft")
    shutil.rmtree("models/finetune/soft")
    run("finetune@soft")
    assert epochs == [0, 1, 1]
    again = load_file("models/finetune/soft/open_clip_model.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert Path("data/finetune/soft.tsv").read_bytes() == curve
    assert not list(Path("scratch/finetune").glob("soft-*"))


def test_a_killed_soup_asks_no_mean_twice(own_street, monkeypatch) -> None:
    shutil.rmtree("scratch", ignore_errors=True)
    soup = Path("models/soup/greedy/open_clip_model.safetensors")
    before, tried = soup.read_bytes(), Path("data/soup/tried.json").read_bytes()
    call, asked, kill = validation.Judge.__call__, [], 0

    def counted(self, clip) -> float:
        asked.append(clip)
        if len(asked) == kill:
            raise Killed
        return call(self, clip)

    monkeypatch.setattr(validation.Judge, "__call__", counted)
    run("soup")
    whole, kill = len(asked), 2 * len(asked) - 2  # the last one that the greedy soup asks
    with pytest.raises(Killed):
        run("soup")
    shutil.rmtree("models/soup")
    run("soup")
    assert len(asked) == kill + 3 and whole > 4  # that one, and both soups
    assert soup.read_bytes() == before and Path("data/soup/tried.json").read_bytes() == tried
    assert not list(Path("scratch").glob("soup-*"))


def test_a_killed_search_goes_on_and_finds_the_same(street, monkeypatch) -> None:
    monkeypatch.setattr(encoding, "PER_FILE", 8)  # a part's size is its batch's, to the last bit
    features, calls = encoding.image_features, []

    def counted(*arguments, **options):
        calls.append(options.get("label"))
        if len(calls) == kill:
            raise Killed
        return features(*arguments, **options)

    monkeypatch.setattr(encoding, "image_features", counted)
    rows = yaml.safe_load(Path("params.yaml").read_text())["search"]["rows"]
    some = {name: {**rows[name], "against": ""} for name in ("zero_shot", "hard", "suffix")}
    set_params(street, {"search.rows": some})
    kill = 0
    shutil.rmtree("scratch")
    run("search")
    before = Path("data/search/test.safetensors").read_bytes()
    whole = len(calls)
    kill = whole + 9
    shutil.rmtree("scratch")
    with pytest.raises(Killed):
        run("search")
    run("search")
    assert len(calls) == 2 * whole + 1  # only the part that was in hand is encoded again
    assert Path("data/search/test.safetensors").read_bytes() == before
    set_params(street, {"search.rows.suffix.suffix.car": "at night"})
    run("search")
    assert len(calls) == 2 * whole + 1  # other words ask for no picture again
    picture = next(Path("data/world/dataset/test/test_images").iterdir())
    picture.touch()  # as if it had been mended
    run("search")
    views = len({label for label in calls if str(label).endswith("test")})
    assert 0 < len(calls) - 2 * whole - 1 < whole / 2 and views  # its part alone, in each view


def test_what_a_tower_would_cut_is_told(street, capsys) -> None:
    queries = Path("data/parse/queries.json")
    listed = json.loads(queries.read_text())
    listed[0]["text"] = "a person " * 40 + "in red"
    queries.write_text(json.dumps(listed))
    run("search")
    told = capsys.readouterr().out
    assert re.search(
        r"warning: search: 1 of \d+ test queries are longer than \S+ reads, and lose", told
    )


def test_fine_tuning_learns_and_locked_towers_stay(street) -> None:
    settings = yaml.safe_load(Path("params.yaml").read_text())["finetune"]["hard"]
    pairs = [(Path(f), t) for f, t in dataset.read_pairs(Path("data/prepare/raw.csv"))]

    def train(**changes) -> tuple[list[float], dict[str, bool]]:
        clip = backbone.load(Path("models/backbone"))
        before = {k: v.clone() for k, v in clip.model.state_dict().items()}
        values = iter([0.5, 0.25, 0.5, 0.75, 0.1, 0.1])
        work = finetuning.Finetuning(
            clip, pairs, Finetune(**{**settings, "stop": 4, "lr": 2e-3, **changes}), seed=0,
            accelerator=runtime.accelerator(torch.device("cpu"), "fp32"),
            judge=lambda _: next(values), alike=[t for _, t in pairs], scratch=Path(f"scratch/{len(str(changes))}"), label="x",
        )  # fmt: skip
        progress = work.run()
        assert progress.best_epoch == 3
        kept = [work.checkpoint(epoch).exists() for epoch in range(4)]
        assert kept == [changes.get("keep_epochs", True)] * 3 + [True]
        after = clip.model.state_dict()
        changed = {k: not torch.equal(before[k], after[k]) for k in before}
        return [row["loss"] for row in progress.history], changed

    losses, changed = train()
    assert losses[-1] < losses[0]
    assert changed["text_projection"] and changed["visual.layer1.0.conv1.weight"]
    assert not any(v for k, v in changed.items() if "running" in k)  # batch norms' statistics
    _, changed = train(lock_image=True)
    assert not any(v for k, v in changed.items() if k.startswith("visual."))
    assert changed["text_projection"]
    _, changed = train(lock_text=True, accumulation=3, checkpointing=True, keep_epochs=False)
    assert changed["visual.attnpool.v_proj.weight"] and not changed["text_projection"]


def soft(street: Path, scratch: Path, accelerator, **changes) -> finetuning.Finetuning:
    """A training of two epochs, the first of which is the better one."""
    settings = yaml.safe_load((street / "params.yaml").read_text())["finetune"]["soft"]
    pairs = [(street / f, t) for f, t in dataset.read_pairs(street / "data/prepare/raw.csv")]
    clip = backbone.load(street / "models/backbone")
    # A part that draws at random while it learns, as the towers do that drop paths.
    clip.model.visual.register_forward_hook(
        lambda part, _, out: out + 0.01 * torch.randn_like(out) if part.training else out
    )
    values = iter([0.5, 0.25])
    return finetuning.Finetuning(
        clip, pairs, Finetune(**{**settings, "stop": 2, **changes}), seed=0, accelerator=accelerator,
        judge=lambda _: next(values), alike=[t[:4] for _, t in pairs], scratch=scratch, label="x",
    )  # fmt: skip


def killed_after_an_epoch(work: finetuning.Finetuning, monkeypatch) -> None:
    epoch = finetuning.Finetuning._epoch

    def dying(self, number: int, bar) -> float:
        if number == 1:
            raise Killed
        return epoch(self, number, bar)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(finetuning.Finetuning, "_epoch", dying)
        work.run()


def test_a_killed_training_draws_and_scales_as_one_that_was_not(
    finished_street, tmp_path, monkeypatch
) -> None:
    def fp16():
        """A loss scaler that doubles at every step, as half precision has one on a GPU."""
        found = runtime.accelerator(torch.device("cpu"), "fp32")
        found.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
        return found

    one = fp16()
    soft(finished_street, tmp_path / "one", one).run()
    killed_after_an_epoch(soft(finished_street, tmp_path / "two", fp16()), monkeypatch)
    torch.manual_seed(123)  # a new process begins elsewhere
    two = fp16()
    soft(finished_street, tmp_path / "two", two).run()
    assert two.scaler.get_scale() == one.scaler.get_scale() > 8
    whole, again = (load_file(tmp_path / f"{n}/epoch_02.safetensors") for n in ("one", "two"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_kill_between_weights_and_state_leaves_the_best_epoch(
    finished_street, tmp_path, monkeypatch
) -> None:
    plain = runtime.accelerator(torch.device("cpu"), "fp32")
    work = soft(finished_street, tmp_path / "x", plain, keep_epochs=False)
    killed_after_an_epoch(work, monkeypatch)
    save = finetuning.save_state

    def dying(*_) -> None:
        raise Killed

    work = soft(finished_street, tmp_path / "x", plain, keep_epochs=False)
    monkeypatch.setattr(finetuning, "save_state", dying)
    work._judge = lambda _: 0.75  # better: the first epoch's weights are to go
    with pytest.raises(Killed):
        work.run()
    monkeypatch.setattr(finetuning, "save_state", save)
    work = soft(finished_street, tmp_path / "x", plain, keep_epochs=False)
    work._judge = lambda _: 0.25  # another machine may see it so: the first stays the best
    progress = work.run()
    assert progress.best_epoch == 0 and work.checkpoint(0).exists()
