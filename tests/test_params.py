"""params.yaml is refused with the key, what is allowed and a likely spelling."""

from pathlib import Path

import pytest
import yaml

from clipworks.chat.params import Chat
from clipworks.fusion.params import Ensemble
from clipworks.kit.params import MODELS, Base, load
from clipworks.tuning.params import Schedule, TrainModel
from clipworks.windows.params import Infer
from clipworks.writing.params import Caption

SHIPPED = Path(__file__).parent.parent / "params.yaml"


def changed(tmp_path: Path, dotted: str, value: object, *, remove: bool = False) -> Path:
    content = yaml.safe_load(SHIPPED.read_text())
    *path, last = dotted.split(".")
    place = content
    for key in path:
        place = place[key]
    if remove:
        del place[last]
    else:
        place[last] = value
    out = tmp_path / "params.yaml"
    out.write_text(yaml.safe_dump(content))
    return out


def test_shipped_params_are_valid() -> None:
    for name in MODELS:
        load(f"train.{name}", TrainModel, SHIPPED)
    load("chat", Chat, SHIPPED)
    load("caption", Caption, SHIPPED)
    load("ensemble", Ensemble, SHIPPED)


def test_a_typo_names_the_section_the_key_and_the_likely_spelling(tmp_path: Path) -> None:
    path = changed(tmp_path, "base.sead", 1)
    with pytest.raises(
        ValueError, match=r"section 'base', key 'sead': unknown.*did you mean 'seed'"
    ):
        load("base", Base, path)


def test_a_typo_inside_a_nested_section_is_found(tmp_path: Path) -> None:
    path = changed(tmp_path, "train.base.schedule.warmupp", 1)
    with pytest.raises(ValueError, match=r"schedule.warmupp.*did you mean 'warmup'"):
        load("train.base", TrainModel, path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = changed(tmp_path, "infer.scales", None, remove=True)
    with pytest.raises(ValueError, match=r"section 'infer', key 'scales': missing"):
        load("infer", Infer, path)


def test_a_wrong_type_says_what_it_got(tmp_path: Path) -> None:
    path = changed(tmp_path, "infer.batch_size", "many")
    with pytest.raises(ValueError, match=r"key 'batch_size'.*integer.*'many'"):
        load("infer", Infer, path)


def test_a_wrong_choice_lists_what_is_allowed(tmp_path: Path) -> None:
    path = changed(tmp_path, "ensemble.aggregation", "median")
    with pytest.raises(ValueError, match=r"'max_or_min', 'max', 'mean'"):
        load("ensemble", Ensemble, path)


def test_a_contradiction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="save: teacher needs ema: true"):
        load("train.base", TrainModel, changed(tmp_path, "train.base.save", "teacher"))
    with pytest.raises(ValueError, match="stop 11 exceeds epochs 10"):
        load("train.base", TrainModel, changed(tmp_path, "train.base.schedule.stop", 11))


def test_numbers_in_exponent_form_are_numbers(tmp_path: Path) -> None:
    path = changed(tmp_path, "train.base.schedule.lr", "1e-3")  # as PyYAML reads 1e-3
    assert load("train.base", TrainModel, path).schedule.lr == 0.001


def test_an_unknown_section_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ValueError, match=r"no section 'trian'.*did you mean 'train'"):
        load("trian", Base, SHIPPED)


def test_params_are_frozen() -> None:
    params = load("base", Base, SHIPPED)
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 3  # type: ignore[misc]


def test_no_section_has_a_default_in_code() -> None:
    for schema in (Base, Infer, Ensemble, TrainModel, Schedule, Caption, Chat):
        assert all(field.is_required() for field in schema.model_fields.values()), schema


@pytest.mark.parametrize("key", ["local_weight", "variance", "weights"])
def test_settings_for_a_model_that_is_none_are_refused(tmp_path, key: str) -> None:
    value = {"default": "once"} if key == "variance" else {"default": 1.0}
    value["bsae"] = value["default"]
    path = changed(tmp_path, f"ensemble.{key}", value)
    with pytest.raises(ValueError, match=r"no model \['bsae'\]; there are \['base'"):
        load("ensemble", Ensemble, path)
