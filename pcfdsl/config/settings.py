"""Frozen dataclasses of settings: declaring their options, checking them, and writing them down."""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import yaml

from pcfdsl.config.values import convert, out_of_range

__all__ = [
    "REQUIRED",
    "ConfigError",
    "Settings",
    "default_of",
    "differences",
    "digest",
    "option",
    "plain",
    "to_dict",
    "to_yaml",
    "validate",
    "within",
]

REQUIRED: Any = dataclasses.MISSING


class ConfigError(ValueError):
    """Invalid settings; `problems` holds every (key path, message) found."""

    def __init__(self, problems: Sequence[tuple[str, str]]):
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{key}: {message}" for key, message in self.problems))

    def __reduce__(self):
        return type(self), (self.problems,)


@contextmanager
def within(group: str) -> Iterator[None]:
    """Put a group of settings in front of the key paths of problems that show when its settings are used.

    >>> with within("data"):
    ...     raise ConfigError([("search.max_draws", "is too small")])
    Traceback (most recent call last):
    pcfdsl.config.settings.ConfigError: data.search.max_draws: is too small
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError([(f"{group}.{key}", message) for key, message in error.problems]) from error


def option(
    default: Any,
    doc: str,
    *,
    minimum=None,
    maximum=None,
    formerly: Mapping[str, str] = MappingProxyType({}),
    instead_of: str | None = None,
) -> Any:
    """Dataclass field with a help text and bounds; numbers must be finite, and integers must fit in 64 bits.

    A field typed as a union of dataclasses holds a group of one of several kinds. Each of them has a field
    `kind: Literal["its_name"]`, whose doc describes the kind; another name than `kind` will do, the same in all.

    Args:
        default: Default value; an instance of a frozen dataclass for a nested group; `REQUIRED` for no default.
        doc: One line: meaning and unit.
        minimum, maximum: Inclusive bounds; for tuples, of every element.
        formerly: Former names of values and their present names, for the error message.
        instead_of: Another field of the group that goes before this one unless it is null or 0, its default; an
            override of this one makes it so.
    """
    about = {"doc": doc, "minimum": minimum, "maximum": maximum, "formerly": formerly, "instead_of": instead_of}
    return dataclasses.field(default=default, metadata=about)


class Settings:
    """Base class of settings: every instance is validated, see `validate`."""

    def __post_init__(self) -> None:
        validate(self)


def validate(config: Any) -> None:
    """Check a configuration's own fields; call it from `__post_init__`.

    Types and bounds come from the fields. A method `inconsistencies(self)`, where there is one, yields
    (field name, message) for problems between fields; it runs only if every field is valid.

    Raises:
        ConfigError: With every problem found.
    """
    hints = typing.get_type_hints(type(config))
    problems: list[tuple[str, str]] = []
    for field in dataclasses.fields(config):
        value, message = convert(getattr(config, field.name), hints[field.name])
        message = message or out_of_range(value, field.metadata)
        if message:
            problems.append((field.name, message))
        else:
            object.__setattr__(config, field.name, value)
    if not problems and hasattr(config, "inconsistencies"):
        problems.extend(config.inconsistencies())
    if problems:
        raise ConfigError(problems)


def to_dict(config: Any) -> dict:
    """Nested plain dictionary (JSON and YAML types only) that `from_dict` turns back into the same configuration."""
    return {field.name: plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def to_yaml(config: Any) -> str:
    """The resolved settings as YAML that `load` reads back."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None, width=110)


def digest(config: Any) -> str:
    """SHA-256 (hex) of the resolved settings in canonical JSON; equal if and only if all settings are equal."""
    canonical = json.dumps(to_dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(Key path, value before, value after) of what differs between nested plain dictionaries; absent values are None.

    >>> list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}))
    [('a.c', 2, 3), ('d', None, 4)]
    """
    for key in sorted(before.keys() | after.keys()):
        one, two = before.get(key), after.get(key)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            for inner, *values in differences(one, two):
                yield f"{key}.{inner}", *values
        elif one != two:
            yield key, one, two


def default_of(field: dataclasses.Field, base: Any) -> Any:
    return field.default if base is REQUIRED else getattr(base, field.name)


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value
