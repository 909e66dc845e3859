"""YAML and command line -> frozen dataclass, with every problem listed at once.

A component states its settings beside itself as a frozen keyword-only dataclass whose fields are made by `option`. The
field docs are the help text; ranges and choices are checked wherever the dataclass is made, from a file or in Python.
"""

import dataclasses
import hashlib
import json
import math
import re
import reprlib
import types
import typing
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

__all__ = ["ConfigError", "describe", "digest", "from_dict", "load", "option", "to_dict", "to_yaml", "validate"]

T = TypeVar("T")

_MAX_INT = (1 << 63) - 1


class ConfigError(ValueError):
    """Settings that cannot be used; `problems` holds every (key path, what is wrong) found."""

    def __init__(self, problems: Sequence[tuple[str, str]]):
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{key}: {message}" for key, message in self.problems))

    def __reduce__(self):
        return type(self), (self.problems,)


def option(default: Any, doc: str, *, choices: Sequence | None = None, minimum=None, maximum=None) -> Any:
    """Dataclass field with a help text and the values it admits; numbers are finite, and whole ones fit in 64 bits.

    Args:
        default: Default value; a frozen dataclass for a nested group of settings.
        doc: One line: meaning and unit.
        choices: The only values admitted.
        minimum, maximum: Inclusive bounds; for tuples, of every element.
    """
    return dataclasses.field(
        default=default, metadata={"doc": doc, "choices": choices, "minimum": minimum, "maximum": maximum}
    )


def load(cls: type[T], path: str | Path | None = None, overrides: Iterable[str] = ()) -> T:
    """Settings from a YAML file (only differences from the defaults need stand in it) and `key.path=value` overrides.

    Where a group is given in part, the rest of it has the defaults of the group's own class, not those of the default
    instance of the class that holds it.

    Raises:
        ConfigError: With every unknown key, wrong type, value out of range and inconsistency, by key path.
        OSError: If the file cannot be read.
    """
    settings: dict = {}
    problems: list[tuple[str, str]] = []
    if path is not None:
        try:
            content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_StrictLoader)
        except _NOT_YAML as error:
            raise ConfigError([(str(path), f"is not valid YAML: {error}")]) from None
        if content is not None and not isinstance(content, dict):
            raise ConfigError([(str(path), f"holds a {type(content).__name__}; expected `key: value` lines")])
        settings = content or {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            problems.append((text, "is not an override; expected key.path=value"))
            continue
        try:
            _set(settings, key.split("."), yaml.load(value, Loader=_StrictLoader))
        except TypeError:
            problems.append((key, "goes into a setting that is not a group"))
        except _NOT_YAML as error:
            problems.append((key, f"has a value that is not valid YAML: {error}"))
    try:
        config = from_dict(cls, settings)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def from_dict(cls: type[T], settings: dict) -> T:
    """Dataclass from nested plain dictionaries, as `to_dict` gives them.

    Raises:
        ConfigError: With every problem found.
    """
    config, problems = _build(cls, settings, "")
    if problems or config is None:
        raise ConfigError(problems)
    return config


def validate(config: Any) -> None:
    """Check a configuration's own fields; call it from `__post_init__`.

    Types, choices and bounds come from the fields. A method `inconsistencies(self)`, where there is one, yields
    (field name, message) for what no field shows alone; it runs only when every field is sound.

    Raises:
        ConfigError: With every problem found.
    """
    hints = typing.get_type_hints(type(config))
    problems: list[tuple[str, str]] = []
    for field in dataclasses.fields(config):
        value, message = _convert(getattr(config, field.name), hints[field.name])
        message = message or _out_of_range(value, field.metadata)
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
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def to_yaml(config: Any) -> str:
    """The resolved settings as YAML that `load` reads back."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None, width=110)


def digest(config: Any) -> str:
    """SHA-256 (hex) of the resolved settings in canonical JSON; equal exactly when all settings are equal."""
    canonical = json.dumps(to_dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def describe(cls: type) -> str:
    """Help text: two lines per key with its default, admitted values and meaning; a kind of group is described once."""
    return "\n".join(_described(cls, "", {}))


def _described(cls: type, prefix: str, place_of: dict[type, str]) -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        key, doc = prefix + field.name, field.metadata.get("doc", "")
        if dataclasses.is_dataclass(hints[field.name]):
            place = place_of.setdefault(hints[field.name], key)
            yield f"{key}: {doc}" + ("" if place == key else f"\n    Has the settings of {place}.")
            if place == key:
                yield from _described(hints[field.name], key + ".", place_of)  # type: ignore[arg-type]
            continue
        default = "required" if field.default is dataclasses.MISSING else _plain(field.default)
        choices = field.metadata.get("choices") or _literals(hints[field.name])
        admitted = f" (one of {', '.join(map(str, choices))})" if choices else ""
        yield f"{key} = {default}{admitted}\n    {doc}"


# PyYAML's own errors, and what its constructors stumble over in values such as `!!bool x` or one that is nested deeply.
_NOT_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without surprises: a key that stands twice is an error, and so are 010 (8 to YAML) and 1:30 (90)."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        counts = Counter(key for key in keys if isinstance(key, Hashable))  # YAML itself refuses the others
        twice = {str(key) for key, count in counts.items() if count > 1}
        if twice:
            raise yaml.YAMLError(f"key given twice: {', '.join(sorted(twice))}\n{node.start_mark}")
        return super().construct_mapping(node, deep)

    def construct_number(self, node):
        """A number, if it means the same to people and to YAML 1.1."""
        if re.match(r"[-+]?0[0-9_]", node.value) or ":" in node.value:
            raise yaml.YAMLError(f"{node.value} may mean two numbers; write it in decimal digits\n{node.start_mark}")
        is_float = node.tag.endswith(":float")
        return self.construct_yaml_float(node) if is_float else self.construct_yaml_int(node)


for _tag in ("int", "float"):
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _StrictLoader.construct_number)


def _set(settings: dict, keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = settings.get(key, {})
        if not isinstance(inner, dict):
            raise TypeError
        settings[key] = dict(inner)  # an alias in YAML is the same dictionary elsewhere, which stays as it was
        settings = settings[key]
    settings[keys[-1]] = value


def _build(cls: type[T], settings: Any, prefix: str) -> tuple[T | None, list[tuple[str, str]]]:
    if not isinstance(settings, dict):
        return None, [(prefix.rstrip(".") or "(top level)", f"expected a group of settings, got {_shown(settings)}")]
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    problems = [
        (f"{prefix}{key}", f"unknown key; known here: {', '.join(fields)}") for key in settings if key not in fields
    ]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in settings:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                problems.append((prefix + name, "is required"))
            continue
        if dataclasses.is_dataclass(hints[name]):
            values[name], inner = _build(hints[name], settings[name], f"{prefix}{name}.")  # type: ignore[arg-type]
            problems += inner
            continue
        value, message = _convert(settings[name], hints[name])
        message = message or _out_of_range(value, field.metadata)
        if message:
            problems.append((prefix + name, message))
        values[name] = value
    if problems:
        return None, problems
    try:
        return cls(**values), []
    except ConfigError as error:
        return None, [(prefix + key, message) for key, message in error.problems]


def _convert(value: Any, hint: Any) -> tuple[Any, str | None]:
    """The value as the type asks for it, or what is wrong with it. Nothing is rounded and no text is guessed at."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        for argument in arguments:
            converted, message = _convert(value, argument)
            if message is None:
                return converted, None
        return value, f"expected {_name(hint)}, got {_shown(value)}"
    if origin is typing.Literal:
        return (
            value,
            None if value in arguments else f"expected one of {', '.join(map(str, arguments))}, got {_shown(value)}",
        )
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = [arguments[0]] * len(value) if arguments[-1] is ... else list(arguments)
        if len(inner) != len(value):
            return value, f"expected {len(inner)} values, got {len(value)}"
        pairs = [_convert(item, kind) for item, kind in zip(value, inner, strict=True)]
        wrong = [message for _, message in pairs if message]
        return (value, wrong[0]) if wrong else (tuple(item for item, _ in pairs), None)
    if hint is float and not isinstance(value, bool):
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
            try:
                return float(value), None
            except ValueError:
                return value, f"expected a number, got {_shown(value)}"
        if isinstance(value, (int, float)):
            try:
                return float(value), None
            except OverflowError:
                return value, f"expected a number, got {_shown(value)}, which is too large"
    if hint is str and type(value) is int:  # the fold 3 is a name
        return str(value), None
    if hint is type(None) and value is None:
        return None, None
    if isinstance(hint, type) and isinstance(value, hint) and (hint is not int or not isinstance(value, bool)):
        return value, None
    return value, f"expected {_name(hint)}, got {_shown(value)}"


def _literals(hint: Any) -> tuple:
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _name(hint: Any) -> str:
    return "nothing (null)" if hint is type(None) else str(getattr(hint, "__name__", hint)).replace("NoneType", "null")


def _out_of_range(value: Any, metadata: Any) -> str | None:
    choices, low, high = metadata.get("choices"), metadata.get("minimum"), metadata.get("maximum")
    for item in _leaves(value):
        if item is None:
            continue
        if choices is not None and item not in choices:
            return f"expected one of {', '.join(map(str, choices))}, got {item!r}"
        if isinstance(item, float) and not math.isfinite(item):
            return f"must be a finite number, got {item}"
        if isinstance(item, int) and not -_MAX_INT <= item <= _MAX_INT:
            return f"must fit in 64 bits, got {_shown(item)}"
        if low is not None and item < low:
            return f"must be at least {low}, got {item!r}"
        if high is not None and item > high:
            return f"must be at most {high}, got {item!r}"
    return None


def _leaves(value: Any):
    if not isinstance(value, tuple):
        yield value
        return
    for item in value:
        yield from _leaves(item)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _shown(value: Any) -> str:
    """The value for a message: all of a usual one, the beginning of one that aliases in YAML can make endless."""
    short = reprlib.Repr()
    short.maxlist = short.maxtuple = short.maxdict = 20
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 3, 200, 200, 200
    return short.repr(value)
