from dataclasses import dataclass
from typing import Literal

import pytest

from pcfdsl.config import REQUIRED, ConfigError, describe, digest, from_dict, load, option, to_dict, to_yaml, validate


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = option(0.5, "A share.", minimum=0.0, maximum=1.0)
    kind: Literal["plain", "fancy"] = option("plain", "A kind.")

    def __post_init__(self):
        validate(self)


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: int = option(3, "A count.", minimum=1)
    sizes: tuple[float, ...] = option((1.0, 2.0), "Sizes in metres.", minimum=0.0)
    name: str | None = option(None, "A name.")
    inner: Inner = option(Inner(), "A group.")

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        if self.count > 10 and self.inner.kind == "plain":
            yield "count", "more than 10 needs inner.kind=fancy"


def problems(*overrides, path=None):
    with pytest.raises(ConfigError) as caught:
        load(Outer, path, overrides)
    return dict(caught.value.problems)


def test_file_and_overrides_resolve_in_order(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("count: 5\ninner: {rate: 1e-3}\n")
    config = load(Outer, file, ["inner.kind=fancy", "sizes=[3, 4.5]", "count=6"])
    assert config == Outer(count=6, sizes=(3.0, 4.5), inner=Inner(rate=0.001, kind="fancy"))


@dataclass(frozen=True, kw_only=True)
class Length:
    steps: int | None = option(None, "steps")
    epochs: float = option(1.0, "epochs if steps is null", instead_of="steps")


@dataclass(frozen=True, kw_only=True)
class Lengths:
    train: Length = option(Length(), "how long")


def test_a_tilde_is_the_home_folder_in_every_text(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("name: ~/set")
    assert load(Outer, "~/c.yaml").name == f"{tmp_path}/set"
    assert load(Outer, overrides=["name=~/set"]).name == Outer(name="~/set").name == f"{tmp_path}/set"
    assert load(Outer, overrides=["name=~"]).name is None
    assert load(Outer, overrides=["name=a~/b"]).name == "a~/b"


def test_an_override_of_what_another_setting_replaces_wins(tmp_path):
    (tmp_path / "c.yaml").write_text("train: {steps: 20, epochs: 4}")
    assert load(Lengths, tmp_path / "c.yaml").train == Length(steps=20, epochs=4.0)
    for overrides in (["train.epochs=3"], ["train.epochs=3", "train.steps=null"]):
        assert load(Lengths, tmp_path / "c.yaml", overrides).train == Length(steps=None, epochs=3.0)
    assert load(Lengths, tmp_path / "c.yaml", ["train.steps=7"]).train == Length(steps=7, epochs=4.0)
    assert load(Length, None, ["epochs=3"]) == Length(epochs=3.0)
    (tmp_path / "epochs.yaml").write_text("train: {epochs: 4}")  # the holder has steps by default
    assert load(Lengths, tmp_path / "epochs.yaml").train == Length(steps=None, epochs=4.0)
    assert load(Lengths, None, ["train={epochs: 4}"]).train == Length(steps=None, epochs=4.0)
    with pytest.raises(ConfigError, match=r"^train\.epochs: expected float, got None$"):
        load(Lengths, tmp_path / "c.yaml", ["train.steps=7", "train.epochs=null"])
    with pytest.raises(ConfigError, match=r"train\.epochs: is given beside train\.steps, .*; give one of the two"):
        load(Lengths, tmp_path / "c.yaml", ["train.steps=7", "train.epochs=3"])


def test_every_problem_is_reported_at_once_with_its_key_path():
    found = problems("count=0", "inner.rate=2", "inner.kind=odd", "colour=red", "sizes=[a]", "noequals")
    assert set(found) == {"count", "inner.rate", "inner.kind", "colour", "sizes", "noequals"}
    assert "at least 1" in found["count"]
    assert "known here: count, sizes, name, inner" in found["colour"]


def test_inconsistencies_are_found_from_files_and_from_python():
    assert "needs inner.kind=fancy" in problems("count=11")["count"]
    with pytest.raises(ConfigError, match=r"needs inner\.kind=fancy"):
        Outer(count=11)
    with pytest.raises(ConfigError, match="at most 1"):
        Inner(rate=3)


@pytest.mark.parametrize("value", ["1.5", "true", "many", "[1]", "null"])
def test_nothing_is_rounded_or_guessed_for_an_integer(value):
    assert "expected int" in problems(f"count={value}")["count"]


@pytest.mark.parametrize("content", ["count: 1\ncount: 2\n", "- 1\n", "a: [", "\xff"])
def test_files_that_are_not_settings(tmp_path, content):
    file = tmp_path / "bad.yaml"
    file.write_text(content, encoding="latin-1")
    assert set(problems(path=file)) == {str(file)}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("inner.rate=.nan", "finite"),
        ("inner.rate=nan", "finite"),
        ("sizes=[1, .inf]", "finite"),
        ("sizes=[inf, -inf]", "finite"),
        ("sizes=[1e999]", "finite"),
        ("sizes=[1" + "0" * 400 + "]", "too large"),
        ("count=1" + "0" * 40, "64 bits"),
        ("count=1" + "0" * 5000, "not valid YAML"),
        ("count=1e9", "expected int"),
        ("count=010", "is ambiguous"),
        ("count=1:30", "is ambiguous"),
        ("inner.rate=1:30.5", "is ambiguous"),
        ("name.a=1", "not a group"),
        ("inner.rate.a.b=1", "not a group"),
        ("sizes.0=1", "give a list as a whole"),
        ("sizes=1", "expected a list, got 1"),
    ],
)
def test_numbers_beyond_all_measure_are_refused(tmp_path, override, said):
    path = tmp_path / "a.yaml"
    path.write_text("name:\ninner: {rate: 0.1}\nsizes: [1.0]\n")
    [message] = problems(override, path=path).values()
    assert said in message
    assert len(message) < 400


def test_numbers_that_mean_one_thing_are_taken():
    config = load(Outer, overrides=["count=0x8", "inner.rate=0.25", "name=7"])
    assert (config.count, config.inner.rate, config.name) == (8, 0.25, "7")


def test_an_override_changes_no_alias(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Two:
        first: Inner = option(Inner(), "A group.")
        second: Inner = option(Inner(), "A group.")

    path = tmp_path / "a.yaml"
    path.write_text("first: &same {rate: 0.1}\nsecond: *same\n")
    config = load(Two, path, ["second.rate=0.2"])
    assert (config.first.rate, config.second.rate) == (0.1, 0.2)


def test_round_trip_and_digest(tmp_path):
    config = Outer(count=4, name="x")
    assert from_dict(Outer, to_dict(config)) == config
    file = tmp_path / "resolved.yaml"
    file.write_text(to_yaml(config))
    assert load(Outer, file) == config
    assert digest(config) == digest(load(Outer, file))
    assert digest(config) != digest(Outer(count=4, name="y"))


@dataclass(frozen=True, kw_only=True)
class Holder:
    first: Inner = option(Inner(), "A group")
    second: Inner = option(Inner(rate=0.25, kind="fancy"), "Another")

    def __post_init__(self):
        validate(self)


def test_a_group_given_in_part_keeps_what_its_holder_says():
    assert load(Holder, overrides=["second.rate=0.75"]) == Holder(second=Inner(rate=0.75, kind="fancy"))
    assert load(Holder, overrides=["second={}"]) == Holder()


def test_help_describes_a_type_of_group_once_and_says_where_defaults_differ():
    text = describe(Holder)
    assert text.count("rate = 0.5") == 1
    assert text.endswith("second: Another\n    Has the settings of first, but by default rate = 0.25, kind = fancy.")


@dataclass(frozen=True, kw_only=True)
class Made:
    kind: Literal["made"] = option("made", "generated on the fly")
    number: int = option(3, "how many")
    inner: Inner = option(Inner(), "a group")


@dataclass(frozen=True, kw_only=True)
class Read:
    kind: Literal["read"] = option("read", "read from a folder", formerly={"stored": "read"})
    folder: str = option(REQUIRED, "the folder")
    split: str = option("train", "the split")
    inner: Inner = option(Inner(), "a group")


@dataclass(frozen=True, kw_only=True)
class Task:
    data: Made | Read = option(Made(), "training data")
    validation: Made | Read = option(Read(folder="x", split="val"), "validation data")

    def __post_init__(self):
        validate(self)


def test_the_kind_of_a_group_selects_its_class():
    task = load(Task, overrides=["data.kind=read", "data.folder=a", "validation.folder=b"])
    assert task == Task(data=Read(folder="a"), validation=Read(folder="b", split="val"))
    assert from_dict(Task, to_dict(task)) == task
    assert to_dict(task)["data"] == {"kind": "read", "folder": "a", "split": "train", "inner": to_dict(Inner())}
    assert load(Task, overrides=["data={kind: read, folder: a}", "data.split=val"]).data == Read(
        folder="a", split="val"
    )
    assert load(Task, overrides=["validation.kind=made"]).validation == Made()
    with pytest.raises(ConfigError, match="data: expected"):
        Task(data=Inner())


@pytest.mark.parametrize(
    ("settings", "key", "said"),
    [
        ("data.kind=odd", "data.kind", "expected one of made, read, got 'odd'"),
        ("data.kind=[read]", "data.kind", "expected one of made, read"),
        ("data.kind=stored", "data.kind", "stored is now called read"),
        ("data.kind=read", "data.folder", "is required by kind read"),
        ("data.folder=a", "data.folder", "belongs to kind read, but kind is made, which takes kind, number, inner"),
        ("validation.number=1", "validation.number", "belongs to kind made, but kind is read"),
        ("data.colour=red", "data.colour", "unknown key; known here: kind, number, inner"),
        ("data.inner.rate=7", "data.inner.rate", "at most 1"),
    ],
)
def test_what_a_kind_of_group_does_not_take_is_refused(settings, key, said):
    with pytest.raises(ConfigError) as caught:
        load(Task, overrides=[settings])
    assert said in dict(caught.value.problems)[key]


def test_help_lists_every_kind_with_its_settings():
    text = describe(Task)
    assert "data: training data\n    One of 2 kinds, made by default:\ndata.kind = made\n    generated on" in text
    assert "data.inner.rate = 0.5" in text
    assert "data.folder = required" in text
    assert "data.inner: a group\n    As above." in text
    assert text.endswith("Has the settings of data, but by default kind = read, folder = x, split = val.")


def test_help_names_every_key():
    text = describe(Outer)
    for key in ("count = 3", "inner.rate = 0.5", "one of plain, fancy", "Sizes in metres."):
        assert key in text
