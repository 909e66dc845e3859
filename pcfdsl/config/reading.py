"""From YAML, overrides and dictionaries to settings, with every problem listed at once."""

import dataclasses
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pcfdsl.config.settings import REQUIRED, ConfigError, default_of
from pcfdsl.config.strict_yaml import NOT_YAML, read_yaml
from pcfdsl.config.values import convert, is_group, items_of, kind_field, kinds_of, out_of_range, shown
from pcfdsl.recipes import find_recipe

__all__ = ["from_dict", "load", "load_one_of"]

T = TypeVar("T")


def load(cls: type[T], path: str | Path | None = None, overrides: Iterable[str] = ()) -> T:
    """Settings from a YAML file that states differences from the defaults, and `key.path=value` overrides.

    A group given in part keeps, for the rest, the defaults of the class that holds it. A group of another kind than the
    holder's default has the defaults of its own class.

    Args:
        cls: The settings class.
        path: A file, or the name of a recipe such as `votenet/laptop_pretrain`; None for the defaults.
        overrides: Settings that go before the file's. One that is `instead_of` another takes that back.

    Raises:
        ConfigError: With every unknown key, wrong type, value out of range and inconsistency, by key path.
        OSError: If the file cannot be read.
    """
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"cls is {cls!r}; expected a settings class, such as pcfdsl.DetectorConfig")
    settings: dict = {}
    problems: list[tuple[str, str]] = []
    if path is not None:
        try:
            content = read_yaml(find_recipe(path).read_text(encoding="utf-8"))
        except NOT_YAML as error:
            raise ConfigError([(str(path), f"is not valid YAML: {error}")]) from None
        if content is not None and not isinstance(content, dict):
            raise ConfigError([(str(path), f"holds a {type(content).__name__}; expected `key: value` lines")])
        settings = content or {}
    given: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            problems.append((text, "is not an override; expected key.path=value"))
            continue
        try:
            given[key] = read_yaml(value)
            _set(settings, key.split("."), given[key])
        except TypeError:
            problems.append(
                (key, "sets a key inside a setting that is not a group; give a list as a whole, such as 'key=[{...}]'")
            )
        except NOT_YAML as error:
            problems.append((key, f"has a value that is not valid YAML: {error}"))
    for key in given:
        group, _, name = key.rpartition(".")
        other = _instead_of(cls, group.split(".") if group else [], name)
        if other is not None:
            other_key = f"{group}.{other.name}".lstrip(".")
            if given[key] and given.get(other_key):
                problems.append((key, f"is given beside {other_key}, which replaces it; give one of the two"))
            _set(settings, other_key.split("."), other.default)
    try:
        config = from_dict(cls, settings)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def load_one_of(classes: Sequence[type], path: str | Path | None = None, overrides: Sequence[str] = ()) -> Any:
    """Settings of the first class that a file and overrides fit; see `load`.

    Raises:
        ConfigError: If they fit none: the problems of the class that knows most of the keys.
        OSError: If the file cannot be read.
    """
    names = {cls: [field.name for field in dataclasses.fields(cls)] for cls in classes}
    refusals: dict[type, list[tuple[str, str]]] = {}
    for cls in classes:
        try:
            return load(cls, path, overrides)
        except ConfigError as error:
            refusals[cls] = list(error.problems)

    def foreign(cls: type) -> list[str]:
        return [key for key, _ in refusals[cls] if key.split(".")[0] not in names[cls]]

    nearest = min(refusals, key=lambda cls: len(foreign(cls)))
    of_others = set().union(*names.values()).intersection(foreign(nearest))
    together = (
        f"does not go together with the rest; give either {' or '.join(', '.join(own) for own in names.values())}"
    )
    raise ConfigError([(key, together if key in of_others else message) for key, message in refusals[nearest]])


def from_dict(cls: type[T], settings: dict) -> T:
    """Dataclass from nested plain dictionaries; the inverse of `to_dict`.

    Raises:
        ConfigError: With every problem found.
    """
    config, problems = _build(cls, settings, "", REQUIRED)
    if problems:
        raise ConfigError(problems)
    return config


def _instead_of(cls: Any, group: list[str], name: str) -> dataclasses.Field | None:
    for key in group:
        cls = typing.get_type_hints(cls).get(key) if dataclasses.is_dataclass(cls) else None
    fields = cls.__dataclass_fields__ if dataclasses.is_dataclass(cls) else {}
    other = fields[name].metadata.get("instead_of") if name in fields else None
    return fields[other] if other else None


def _set(settings: dict, keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = settings.get(key, {})
        if not isinstance(inner, dict):
            raise TypeError
        settings[key] = dict(inner)  # copied: a YAML alias may share it with another key
        settings = settings[key]
    settings[keys[-1]] = value


def _build(cls: Any, settings: Any, prefix: str, base: Any) -> tuple[Any, list[tuple[str, str]]]:
    """A group from a dictionary, and the problems found; `base`, if set, has the values of keys that are not given."""
    if not isinstance(settings, dict):
        return None, [(prefix.rstrip(".") or "(top level)", f"expected a group of settings, got {shown(settings)}")]
    kinds = kinds_of(cls)
    if kinds:
        tag = kind_field(kinds.values())
        kind = settings.get(tag, getattr(base, tag, None))
        if not isinstance(kind, str) or kind not in kinds:
            return None, [(prefix + tag, _no_kind(kind, kinds))]
        cls = kinds[kind]
        base = base if type(base) is cls else REQUIRED
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    problems = [(f"{prefix}{key}", message) for key, message in _unknown(settings, fields, kinds, cls)]
    values: dict[str, Any] = {}
    replaced = {field.metadata.get("instead_of") for key, field in fields.items() if settings.get(key) is not None}
    for name, field in fields.items():
        default = field.default if name in replaced else default_of(field, base)
        if name not in settings:
            values[name] = default
            if default is REQUIRED:
                problems.append((prefix + name, "is required" + (f" by {_kind(cls, kinds)}" if kinds else "")))
        elif is_group(hints[name]):
            values[name], inner = _build(hints[name], settings[name], f"{prefix}{name}.", default)
            problems += inner
        elif items_of(hints[name]) and isinstance(settings[name], (list, tuple)):
            built = [
                _build(items_of(hints[name]), item, f"{prefix}{name}.{i}.", REQUIRED)
                for i, item in enumerate(settings[name])
            ]
            values[name] = tuple(item for item, _ in built)
            problems += [problem for _, inner in built for problem in inner]
        else:
            values[name], message = convert(settings[name], hints[name])
            message = message or out_of_range(values[name], field.metadata)
            if message:
                problems.append((prefix + name, _renamed(settings[name], field) or message))
    if problems:
        return None, problems
    try:
        return cls(**values), []
    except ConfigError as error:
        return None, [(prefix + key, message) for key, message in error.problems]


def _no_kind(kind: Any, kinds: dict[str, Any]) -> str:
    for cls in kinds.values():
        if renamed := _renamed(kind, cls.__dataclass_fields__[kind_field(kinds.values())]):
            return renamed
    return f"expected one of {', '.join(kinds)}, {'but there is none' if kind is None else f'got {shown(kind)}'}"


def _kind(cls: Any, kinds: dict[str, Any]) -> str:
    """The kind of a group with the name of its key, such as `kind furniture`."""
    tag = kind_field(kinds.values())
    return f"{tag} {getattr(cls, tag)}"


def _renamed(value: Any, field: dataclasses.Field) -> str | None:
    names = field.metadata.get("formerly", {})
    return f"{value} is now called {names[value]}" if isinstance(value, str) and value in names else None


def _unknown(settings: dict, fields: dict[str, Any], kinds: dict[str, Any], cls: Any) -> Iterator[tuple[Any, str]]:
    known, explained = ", ".join(fields), False
    for key in settings:
        if key in fields:
            continue
        owners = [name for name, other in kinds.items() if key in other.__dataclass_fields__]
        if not owners:
            yield key, f"unknown key; known here: {known}"
            continue
        tag = kind_field(kinds.values())
        listed = " or ".join(filter(None, (", ".join(owners[:-1]), owners[-1])))
        message = f"belongs to {tag} {listed}, but {tag} is {getattr(cls, tag)}"
        if not explained:
            message += (
                f", which takes {known}; to change the {tag} of a group in a file, replace the whole group: "
                f"'key={{{tag}: ..., ...}}'"
            )
        yield key, message
        explained = True
