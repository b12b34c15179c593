"""params.yaml is refused with the key, what is allowed and a likely spelling."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from clipworks.chat.params import Chat
from clipworks.fusion.params import Ensemble
from clipworks.kit import params
from clipworks.kit.errors import InputError
from clipworks.kit.params import MODELS, Base, load
from clipworks.retrieval import check as retrieval
from clipworks.retrieval.params import Search
from clipworks.scenes import check as scenes
from clipworks.settings import check as settings
from clipworks.settings import whole
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


def test_a_typo_inside_an_entry_of_a_table_is_found(tmp_path: Path) -> None:
    content = yaml.safe_load((SHIPPED.parent / "solutions/retrieval/params.yaml").read_text())
    entry = next(iter(content["search"]["rows"].values()))
    entry["suffx"] = entry.pop("suffix")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"suffx': unknown; allowed are \[.*did you mean 'suffix'"):
        load("search", Search, tmp_path / "params.yaml")


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


@pytest.mark.parametrize("key", ["cooccurrence_models", "weights"])
def test_default_is_no_model_where_models_are_named(tmp_path, key: str) -> None:
    value = {"default": 1.0} if key == "weights" else ["default"]
    with pytest.raises(
        ValueError, match=r"no model \['default'\]; .*local_weight and variance alone"
    ):
        load("ensemble", Ensemble, changed(tmp_path, f"ensemble.{key}", value))


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


def numbers(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number that a JSON schema allows, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") in ("integer", "number"):
            yield where, schema
        for key, value in schema.items():
            yield from numbers(value, f"{where}.{key}")
    elif isinstance(schema, list):
        for i, value in enumerate(schema):
            yield from numbers(value, f"{where}[{i}]")


@pytest.mark.parametrize(
    "schema", [whole.Params, scenes.Params, retrieval.Params], ids=["top", "scenes", "retrieval"]
)
def test_every_number_has_limits_on_both_sides(schema: type[BaseModel]) -> None:
    found = list(numbers(schema.model_json_schema()))
    assert len(found) > 20
    for place, number in found:
        assert {"minimum", "exclusiveMinimum", "ge", "gt"} & number.keys(), place
        assert {"maximum", "exclusiveMaximum", "le", "lt"} & number.keys(), place


WRONG: list[Any] = [
    None, "", "data", "a\0b", "é" * 300, [], {}, [None], -1, 0, 10**400, 1e300, -1e300, 1e-300, True,
]  # fmt: skip


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from leaves(inner, (*path, key))


@pytest.mark.parametrize("solution", ["", "solutions/scenes", "solutions/retrieval"])
def test_no_value_of_any_key_ends_the_check_in_a_traceback(monkeypatch, solution: str) -> None:
    """Each key gets each wrong value; what is refused says so in few words."""
    module: Any = {"": settings, "solutions/scenes": scenes, "solutions/retrieval": retrieval}[
        solution
    ]
    monkeypatch.chdir(SHIPPED.parent / solution)
    content = yaml.safe_load(Path("params.yaml").read_text())
    monkeypatch.setattr(
        params, "read_yaml", lambda path: content
    )  # writing and reading takes longest
    refused = 0
    for *places, last in leaves(content):
        if places[:1] in (["train"], ["finetune"], ["model"]) and places[1:2] not in (
            [],
            ["base"],
            ["hard"],
            ["wide"],
        ):
            continue  # the other models' keys are of the same kinds
        if places[:2] == ["search", "rows"] and places[2:3] not in ([], ["authors"]):
            continue
        section = content
        for place in places:
            section = section[place]
        kept = section[last]
        for wrong in WRONG:
            section[last] = wrong
            try:
                module.check((whole.load if solution == "" else module.load)())
            except InputError as error:
                refused += 1
                assert 10 < len(str(error)) < 1500, (*places, last, wrong)
        section[last] = kept
    assert refused > 500


@pytest.mark.parametrize("key", ["local_weight", "variance", "weights"])
def test_settings_for_a_model_that_is_none_are_refused(tmp_path, key: str) -> None:
    value = {"default": "once"} if key == "variance" else {"default": 1.0}
    value["bsae"] = value["default"]
    if key == "weights":
        value["base"] = value.pop("default")  # which would mean nothing there
    path = changed(tmp_path, f"ensemble.{key}", value)
    with pytest.raises(ValueError, match=r"no model \['bsae'\]; there are \['base'"):
        load("ensemble", Ensemble, path)
