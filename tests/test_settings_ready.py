"""Settings that ship ready: each can be put into params.yaml, all of it or nothing."""

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from clipworks.commands import app
from clipworks.kit.errors import InputError
from clipworks.settings import ready
from clipworks.settings.whole import load

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "data/settings").glob("*.yaml"))


@pytest.fixture
def params(tmp_dir) -> Path:
    shutil.copyfile(ROOT / "params.yaml", tmp_dir / "params.yaml")
    return tmp_dir / "params.yaml"


@pytest.mark.parametrize("file", FILES, ids=[f.stem for f in FILES])
def test_what_ships_goes_into_params_with_comments_and_order_kept(params, file) -> None:
    before = params.read_text()
    changes = ready.apply(file, params)
    assert changes and load(params)
    after = params.read_text()

    def comments(text: str) -> set[str]:
        return {line.split("#", 1)[1].strip() for line in text.splitlines() if "# " in line}

    assert comments(before) <= comments(after)
    assert list(yaml.safe_load(after)) == list(yaml.safe_load(before))
    assert ready.apply(file, params) == []  # all there


def test_the_authors_settings_are_those_of_the_solution(params) -> None:
    ready.apply(ROOT / "data/settings/coco_authors.yaml", params)
    chosen = load(params)
    assert (chosen.train.ema.contexts, chosen.train.zema.contexts) == (64, 16)
    rates = {
        m: getattr(chosen.train, m).schedule.lr
        for m in ("base", "ema", "zema", "diff", "diffh", "difft")
    }
    assert rates == {
        "base": 1e-5,
        "ema": 0.01,
        "zema": 0.01,
        "diff": 1e-5,
        "diffh": 0.01,
        "difft": 1e-5,
    }
    assert {getattr(chosen.train, m).batch_size for m in rates} == {1024}
    assert chosen.infer.scales == [2, 3, 4] and chosen.ensemble.routing == "lists"
    assert chosen.ensemble.default_model == "base" and chosen.train.ema.ema_local_weight == 10_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "infer: {scalse: [2]}",
            r"infer\.scalse is no key of params\.yaml; there are \['batch_size'.* 'scales'\?",
        ),
        (
            "infer.scales: [2]",
            r"infer\.scales is no key of params\.yaml; write sections and their keys on lines",
        ),
        (
            "infer: {scales: [1]}",
            r"mine\.yaml, put into .*params\.yaml: section 'infer', key 'scales\.0'",
        ),
        ("- a", r"holds no sections"),
        ("? [a]\n: 1\ninfer: {scales: [2]}", r"mine\.yaml"),
    ],
)
def test_wrong_settings_change_nothing(params, tmp_dir, text, message) -> None:
    before = params.read_bytes()
    (tmp_dir / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        ready.apply(tmp_dir / "mine.yaml", params)
    assert params.read_bytes() == before


def test_numbers_that_are_written_otherwise_are_the_same_numbers(params) -> None:
    before = params.read_bytes()
    assert ready.apply(params, params) == [] and params.read_bytes() == before


def test_the_console_applies_them_and_says_what_changed(params, tmp_dir) -> None:
    (tmp_dir / "mine.yaml").write_text(
        "infer: {scales: [2, 3, 4]}\nensemble: {weights: {ema: 1.0}}"
    )
    found = CliRunner().invoke(app, ["settings", "mine.yaml"])
    assert found.exit_code == 0
    assert "infer.scales: [2, 3] -> [2, 3, 4]\n" in found.output
    assert "2 keys of params.yaml changed" in found.output
    found = CliRunner().invoke(app, ["settings", "nothing.yaml"])
    assert found.exit_code == 1
    assert "there is no file nothing.yaml; run this where params.yaml lies" in found.output
    (tmp_dir / "data/settings").mkdir(parents=True)
    (tmp_dir / "data/settings/coco.yaml").touch()
    found = CliRunner().invoke(app, ["settings", "nothing.yaml"])
    assert "there is no file nothing.yaml; shipped are data/settings/coco.yaml" in found.output
    params.unlink()
    found = CliRunner().invoke(app, ["settings", "mine.yaml"])
    assert found.exit_code == 1 and "there is no params.yaml here; run this in" in found.output


@pytest.mark.parametrize("windows", ["[crops]", "[maps, crops]", "[crops, maps]"])
def test_a_list_with_a_comment_before_its_lines_can_be_put_in(params, windows) -> None:
    (params.parent / "s.yaml").write_text(f"infer: {{windows: {windows}}}")
    comments = params.read_text().count("#")
    ready.apply(Path("s.yaml"), params)
    assert f"windows: {windows}" == f"windows: [{', '.join(load(params).infer.windows)}]"
    assert params.read_text().count("#") == comments


@pytest.mark.parametrize("windows", ["[]", "[maps]"])
def test_a_list_that_is_not_allowed_is_refused_for_what_it_is(params, windows) -> None:
    (params.parent / "s.yaml").write_text(f"infer: {{windows: {windows}}}")
    before = params.read_text()
    with pytest.raises(InputError, match=r"section 'infer'.*windows"):
        ready.apply(Path("s.yaml"), params)
    assert params.read_text() == before


def test_a_table_of_numbers_is_taken_whole_and_says_so(params) -> None:
    (params.parent / "s.yaml").write_text("ensemble: {local_weight: {default: 2.0}}")
    (change,) = ready.apply(Path("s.yaml"), params)
    assert change.endswith("-> {'default': 2.0} taken whole, what is not named goes")
    (params.parent / "s.yaml").write_text("ensemble: {local_weight: {base: 2.0}}")
    with pytest.raises(InputError, match=r"'default' \(ensemble\.local_weight: taken whole, what"):
        ready.apply(Path("s.yaml"), params)


def test_what_ends_in_the_middle_leaves_params_as_they_were(params, tmp_dir) -> None:
    (tmp_dir / "mine.yaml").write_text("base: {seed: 7}\n")
    before = params.read_bytes()

    def stopped(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ready.apply(tmp_dir / "mine.yaml", params, check=stopped)
    assert params.read_bytes() == before
    assert [p.name for p in params.parent.iterdir() if p.name.endswith(".tmp")] == []


def test_a_linked_params_file_stays_a_link(params, tmp_dir) -> None:
    (tmp_dir / "mine.yaml").write_text("base: {seed: 7}\n")
    params.rename(tmp_dir / "real.yaml")
    params.symlink_to("real.yaml")
    ready.apply(tmp_dir / "mine.yaml", params)
    assert params.is_symlink() and "seed: 7" in (tmp_dir / "real.yaml").read_text()


@pytest.mark.parametrize(
    ("solution", "text", "message"),
    [
        ("retrieval", "finetune:\n", "section 'finetune'"), ("retrieval", "finetune: [a]\n", "section 'finetune'"),
        ("retrieval", "search: {rows: 3}\n", "section 'search', key 'rows'"), ("scenes", "model:\n", "section 'model'"),
    ],
)  # fmt: skip
def test_a_section_that_is_none_is_refused_by_name(tmp_dir, solution, text, message) -> None:
    shutil.copyfile(ROOT / f"solutions/{solution}/params.yaml", "params.yaml")
    Path("own.yaml").write_text(text)
    done = CliRunner().invoke(app, ["settings", "own.yaml"])
    assert done.exit_code == 1 and message.replace("\\", "") in str(done.exception)


def test_models_of_ones_own_can_be_put_into_the_scenes(tmp_dir) -> None:
    shutil.copyfile(ROOT / "solutions/scenes/params.yaml", "params.yaml")
    shipped = yaml.safe_load(Path("params.yaml").read_text())
    own = {"model": {"big": shipped["model"]["wide"]}, "probabilities": {"big": {"sharpen": [1.0], "batch_size": 8}},
           "ensemble": {"sharpen": {"big": 1.0}, "weights": {"big": 1.0}}}  # fmt: skip
    Path("own.yaml").write_text(yaml.safe_dump(own))
    done = CliRunner().invoke(app, ["settings", "own.yaml"])
    assert done.exit_code == 0, done.exception
    after = yaml.safe_load(Path("params.yaml").read_text())
    assert list(after["model"]) == list(after["probabilities"]) == ["big"]


@pytest.mark.parametrize("text", ["- a: 1\n", "5\n"])
def test_a_params_file_that_is_no_mapping_is_told(params, text: str) -> None:
    params.write_text(text)
    for command in (["check"], ["settings", str(FILES[0])]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1 and "Traceback" not in done.output
        assert isinstance(done.exception, SystemExit)
