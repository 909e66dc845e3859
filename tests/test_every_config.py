"""What holds of every settings class of the package, found by walking its modules."""

import dataclasses
import importlib
import pkgutil
import re
import typing

import pytest

import pcfdsl
from pcfdsl.config import REQUIRED, ConfigError, from_dict, load, to_dict


def config_classes():
    for module in pkgutil.walk_packages(pcfdsl.__path__, "pcfdsl."):
        for found in vars(importlib.import_module(module.name)).values():
            own = isinstance(found, type) and found.__module__ == module.name and dataclasses.is_dataclass(found)
            if own and any("doc" in field.metadata for field in dataclasses.fields(found)):
                yield found


# What other settings fix, so that no other value is valid alone.
BOUND = {"kind", "formula", "variant", "in_channels", "input_channels", "monitor", "hull", "supersample", "size"}
BOUND |= {
    "backbone_type",
    "detector",
    "formula",
    "views",  # a ring has only so many instances
    "color",  # several fractals in one picture are told apart by it
    "use_height",
    "use_color",
    *("votes", "class_agnostic", "draws"),  # where views are contrasted there are no boxes
    "checkpoint",
    "arguments",
    "layer_decay",  # is for fine-tuning
}
# Groups in which a study's arms and protocols decide, and both halves have to agree.
DECIDED = {"ImageStudyConfig": ("pretrain", "finetune")}
CLASSES = sorted(set(config_classes()), key=lambda cls: (cls.__module__, cls.__name__))


@pytest.fixture
def given(tmp_path):
    """Settings that a class cannot do without."""
    (tmp_path / "file").touch()

    def required(cls):
        return {field.name: str(tmp_path / "file") for field in dataclasses.fields(cls) if field.default is REQUIRED}

    return required


def flat(settings, prefix=""):
    found = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def hint_at(cls, path, config):
    """The type of a value by its key path."""
    for key in path.split("."):
        hint = typing.get_type_hints(type(config))[key]
        config = getattr(config, key)
    return hint


def others(value, hint):
    """Values of the same type that a setting might have instead."""
    if typing.get_origin(hint) is typing.Literal:
        return [other for other in typing.get_args(hint) if other != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        values = [type(value)(other) for other in (value + 1, value / 2, value * 2, 0, 0.1)]
        return [other for other in values if other != value]
    if isinstance(value, list):
        if not value:
            return [["other"], [1]]
        if isinstance(value[0], dict):  # formulas, which have seeds of their own
            return [[*value, {**value[0], "seed": value[0]["seed"] + 1}]]
        return [*([other, *value[1:]] for other in others(value[0], None)), [*value[:-1], 2 * value[-1]], value[:-1]]
    return ["other", "resnet18"] if isinstance(value, str) else [1, 0.5, "other", [8, 8]]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_settings_come_back_from_their_dictionary_and_one_override_changes_one_value(cls, given):
    config = from_dict(cls, given(cls))
    assert from_dict(cls, to_dict(config)) == config
    before = flat(to_dict(config))
    unchanged = []
    for path, value in before.items():
        for other in others(value, hint_at(cls, path, config)):
            settings = given(cls)
            *groups, last = path.split(".")
            group = settings
            for key in groups:
                group = group.setdefault(key, {})
            group[last] = other
            try:
                after = flat(to_dict(from_dict(cls, settings)))
            except ConfigError:
                continue
            replaced = {path.replace("epochs", "num_steps")} & {key for key in after if after[key] is None}
            assert {key for key in before | after if before.get(key) != after.get(key)} <= {path} | replaced
            assert before[path] != after[path]
            break
        else:
            unchanged.append(path)
    assert {
        path.split(".")[-1] for path in unchanged if path.split(".")[0] not in DECIDED.get(cls.__name__, ())
    } <= BOUND


SIZES = re.compile(r"num_\w+|(\w+_)?size|batch_size|repeats|votes|supersample|accumulate")
UNBOUNDED = {"ImportedCategoriesConfig.num_categories", "TrainConfig.accumulate"}  # counted; divides batch_size


def test_sizes_have_bounds():
    """A size that no machine can hold is a mistake in a setting, not a MemoryError or a hang."""
    unbounded = {
        f"{cls.__name__}.{field.name}"
        for cls in CLASSES
        for field in dataclasses.fields(cls)
        if SIZES.fullmatch(field.name)
        and re.search(r"\b(int|float)\b", str(field.type))
        and "doc" in field.metadata
        and field.metadata["maximum"] is None
    }
    assert unbounded <= UNBOUNDED, "give these a maximum"


@pytest.mark.parametrize("dataset", ["", "rcdb.", "fractaldb.", "visualatom.", "exfractaldb."])
@pytest.mark.parametrize("number", ["3000000000", "3000000000000000000", "9" * 40])
@pytest.mark.parametrize("name", ["num_instances", "num_categories"])
def test_a_generator_refuses_impossible_sizes_at_once(dataset, name, number):
    from pcfdsl.image.sets import ImageSetConfig
    from pcfdsl.pointcloud.pcfractal import PCFractalConfig

    with pytest.raises(ConfigError, match=f"{name}: must (be at most 10000000|fit in 64 bits), got"):
        load(ImageSetConfig if dataset else PCFractalConfig, overrides=[f"{dataset}{name}={number}"])


def test_numbers_of_steps_and_epochs_need_no_agreement():
    from pcfdsl.train.tasks.detection import DetectorConfig
    from pcfdsl.train.tasks.pretraining import PretrainConfig

    assert load(DetectorConfig, overrides=["train.device=cpu"]).train.epochs == 180
    assert load(DetectorConfig, overrides=["train.num_steps=5"]).train.num_steps == 5
    assert load(PretrainConfig, overrides=["train.num_steps=null", "train.epochs=2"]).train.epochs == 2
    assert load(DetectorConfig).validation.kind == "none"
    with pytest.raises(ConfigError, match=r"validation.split: belongs to kind .*, but kind is none"):
        load(DetectorConfig, overrides=["validation.split=val"])
