"""YAML and command line -> frozen dataclass, with every problem listed at once.

A component declares its settings beside itself as a frozen keyword-only dataclass whose fields are made by `option`.
The field docs are the help text; types and bounds are checked wherever the dataclass is made, from a file or in Python.
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
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from pcfdsl.recipes import find_recipe

__all__ = [
    "REQUIRED",
    "ConfigError",
    "Settings",
    "describe",
    "digest",
    "from_dict",
    "kinds_of",
    "load",
    "option",
    "to_dict",
    "to_yaml",
    "validate",
]

T = TypeVar("T")

REQUIRED: Any = dataclasses.MISSING

_MAX_INT = (1 << 63) - 1


class ConfigError(ValueError):
    """Invalid settings; `problems` holds every (key path, message) found."""

    def __init__(self, problems: Sequence[tuple[str, str]]):
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{key}: {message}" for key, message in self.problems))

    def __reduce__(self):
        return type(self), (self.problems,)


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
        instead_of: Another field of the group that goes before this one unless it is null; an override of this one
            makes it null.
    """
    about = {"doc": doc, "minimum": minimum, "maximum": maximum, "formerly": formerly, "instead_of": instead_of}
    return dataclasses.field(default=default, metadata=about)


class Settings:
    """Base class of settings: every instance is validated, see `validate`."""

    def __post_init__(self) -> None:
        validate(self)


def load(cls: type[T], path: str | Path | None = None, overrides: Iterable[str] = ()) -> T:
    """Settings from a YAML file that states differences from the defaults, and `key.path=value` overrides.

    A group given in part keeps, for the rest, the defaults of the class that holds it. A group of another kind than the
    holder's default has the defaults of its own class.

    Args:
        cls: The settings class.
        path: A file, or the name of a recipe such as `votenet/laptop_pretrain`; None for the defaults.
        overrides: Settings that go before the file's. One that is `instead_of` another makes that null.

    Raises:
        ConfigError: With every unknown key, wrong type, value out of range and inconsistency, by key path.
        OSError: If the file cannot be read.
    """
    settings: dict = {}
    problems: list[tuple[str, str]] = []
    if path is not None:
        try:
            content = yaml.load(find_recipe(path).read_text(encoding="utf-8"), Loader=_StrictLoader)
        except _NOT_YAML as error:
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
            given[key] = yaml.load(value, Loader=_StrictLoader)
            _set(settings, key.split("."), given[key])
        except TypeError:
            problems.append((key, "sets a key inside a setting that is not a group"))
        except _NOT_YAML as error:
            problems.append((key, f"has a value that is not valid YAML: {error}"))
    for key in given:
        group, _, name = key.rpartition(".")
        other = _instead_of(cls, group.split(".") if group else [], name)
        if other is not None:
            other_key = f"{group}.{other}".lstrip(".")
            if given.get(other_key) is not None:
                problems.append((key, f"is given beside {other_key}, which replaces it; give one of the two"))
            _set(settings, other_key.split("."), None)
    try:
        config = from_dict(cls, settings)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def from_dict(cls: type[T], settings: dict) -> T:
    """Dataclass from nested plain dictionaries; the inverse of `to_dict`.

    Raises:
        ConfigError: With every problem found.
    """
    config, problems = _build(cls, settings, "", REQUIRED)
    if problems:
        raise ConfigError(problems)
    return config


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
    """SHA-256 (hex) of the resolved settings in canonical JSON; equal if and only if all settings are equal."""
    canonical = json.dumps(to_dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def describe(cls: type) -> str:
    """Help text: two lines per key, with default, choices and meaning; each class of group is described once."""
    return "\n".join(_described(cls, "", REQUIRED, {}))


def kinds_of(hint: Any) -> dict[str, type]:
    """The classes of a union of dataclasses by their kinds; empty for any other type."""
    classes = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else ()
    groups: list[Any] = [cls for cls in classes if dataclasses.is_dataclass(cls)]
    return {getattr(cls, _kind_field(groups)): cls for cls in groups}


_UNIONS = (types.UnionType, typing.Union)


def _kind_field(groups: Iterable[Any]) -> str:
    """The field that tells the classes of a union apart: in each of them it has one possible value."""
    (name,) = set.intersection(
        *({name for name, hint in typing.get_type_hints(cls).items() if len(_choices(hint)) == 1} for cls in groups)
    )
    return name


def _choices(hint: Any) -> tuple:
    """The values that a type admits, where it lists them."""
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _described(cls: type, prefix: str, base: Any, places: dict[Any, tuple[str, Any]]) -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint, key, doc = hints[field.name], prefix + field.name, field.metadata.get("doc", "")
        default = _default(field, base)
        if not _is_group(hint):
            choices = _choices(hint)
            admitted = f" (one of {', '.join(map(str, choices))})" if len(choices) > 1 else ""
            yield f"{key} = {'required' if default is REQUIRED else _plain(default)}{admitted}\n    {doc}"
            continue
        yield f"{key}: {doc}"
        if hint in places:
            place, there = places[hint]
            changed = [f"{name} = {value}" for name, value in _flat(default).items() if _flat(there).get(name) != value]
            but = f", but by default {', '.join(changed)}" if changed else ""
            yield f"    {'As above' if place == key else f'Has the settings of {place}'}{but}."
            continue
        places[hint] = key, default
        kinds = kinds_of(hint)
        if kinds:
            tag = _kind_field(kinds.values())
            yield f"    One of {len(kinds)} {tag}s, {getattr(default, tag)} by default:"
        for group in kinds.values() or (hint,):
            yield from _described(group, key + ".", default if type(default) is group else REQUIRED, places)


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every value by its key path."""
    flat = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        group = dataclasses.is_dataclass(value)
        flat |= _flat(value, f"{prefix}{field.name}.") if group else {prefix + field.name: _plain(value)}
    return flat


def _is_group(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) or bool(kinds_of(hint))


def _default(field: dataclasses.Field, base: Any) -> Any:
    return field.default if base is REQUIRED else getattr(base, field.name)


# PyYAML's own errors, and what its constructors raise for values such as `!!bool x` or deep nesting.
_NOT_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without surprises: duplicate keys are errors, and so are 010 (8 in YAML 1.1) and 1:30 (90)."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        counts = Counter(key for key in keys if isinstance(key, Hashable))  # PyYAML rejects the others itself
        duplicates = {str(key) for key, count in counts.items() if count > 1}
        if duplicates:
            raise yaml.YAMLError(f"duplicate key: {', '.join(sorted(duplicates))}\n{node.start_mark}")
        return super().construct_mapping(node, deep)

    def construct_number(self, node):
        """A number, unless YAML 1.1 reads it differently from what a person would."""
        if re.match(r"[-+]?0[0-9_]", node.value) or ":" in node.value:
            raise yaml.YAMLError(f"{node.value} is ambiguous; write the number in decimal digits\n{node.start_mark}")
        is_float = node.tag.endswith(":float")
        return self.construct_yaml_float(node) if is_float else self.construct_yaml_int(node)


for _tag in ("int", "float"):
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _StrictLoader.construct_number)


def _instead_of(cls: Any, group: list[str], name: str) -> str | None:
    for key in group:
        cls = typing.get_type_hints(cls).get(key) if dataclasses.is_dataclass(cls) else None
    field = cls.__dataclass_fields__.get(name) if dataclasses.is_dataclass(cls) else None
    return field.metadata.get("instead_of") if field else None


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
        return None, [(prefix.rstrip(".") or "(top level)", f"expected a group of settings, got {_shown(settings)}")]
    kinds = kinds_of(cls)
    if kinds:
        tag = _kind_field(kinds.values())
        kind = settings.get(tag, getattr(base, tag, None))
        if not isinstance(kind, str) or kind not in kinds:
            return None, [(prefix + tag, _no_kind(kind, kinds))]
        cls = kinds[kind]
        base = base if type(base) is cls else REQUIRED
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    problems = [(f"{prefix}{key}", _unknown(key, fields, kinds, cls)) for key in settings if key not in fields]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        default = _default(field, base)
        if name not in settings:
            values[name] = default
            if default is REQUIRED:
                problems.append((prefix + name, "is required" + (f" by {_kind(cls, kinds)}" if kinds else "")))
        elif _is_group(hints[name]):
            values[name], inner = _build(hints[name], settings[name], f"{prefix}{name}.", default)
            problems += inner
        else:
            values[name], message = _convert(settings[name], hints[name])
            message = message or _out_of_range(values[name], field.metadata)
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
        if renamed := _renamed(kind, cls.__dataclass_fields__[_kind_field(kinds.values())]):
            return renamed
    return f"expected one of {', '.join(kinds)}, got {_shown(kind)}"


def _kind(cls: Any, kinds: dict[str, Any]) -> str:
    """The kind of a group with the name of its key, such as `kind furniture`."""
    tag = _kind_field(kinds.values())
    return f"{tag} {getattr(cls, tag)}"


def _renamed(value: Any, field: dataclasses.Field) -> str | None:
    names = field.metadata.get("formerly", {})
    return f"{value} is now called {names[value]}" if isinstance(value, str) and value in names else None


def _unknown(key: Any, fields: dict[str, Any], kinds: dict[str, Any], cls: Any) -> str:
    known = ", ".join(fields)
    owners = [name for name, other in kinds.items() if key in other.__dataclass_fields__]
    if not owners:
        return f"unknown key; known here: {known}"
    tag = _kind_field(kinds.values())
    listed = " or ".join(filter(None, (", ".join(owners[:-1]), owners[-1])))
    return (
        f"belongs to {tag} {listed}, but {tag} is {getattr(cls, tag)}, which takes {known}; "
        f"to change the {tag} of a group in a file, replace the whole group: 'key={{{tag}: ..., ...}}'"
    )


def _convert(value: Any, hint: Any) -> tuple[Any, str | None]:
    """The value converted to the type, or what is wrong with it. Nothing is rounded, and no text is interpreted."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        for argument in arguments:
            converted, message = _convert(value, argument)
            if message is None:
                return converted, None
        return value, f"expected {_name(hint)}, got {_shown(value)}"
    if origin is typing.Literal:
        if any(type(value) is type(argument) and value == argument for argument in arguments):
            return value, None
        return value, f"expected one of {', '.join(map(str, arguments))}, got {_shown(value)}"
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
    if hint is str and type(value) is int:  # a fold named 3
        return str(value), None
    if hint is type(None) and value is None:
        return None, None
    if isinstance(hint, type) and isinstance(value, hint) and (hint is not int or not isinstance(value, bool)):
        return value, None
    return value, f"expected {_name(hint)}, got {_shown(value)}"


def _name(hint: Any) -> str:
    return "nothing (null)" if hint is type(None) else str(getattr(hint, "__name__", hint)).replace("NoneType", "null")


def _out_of_range(value: Any, metadata: Any) -> str | None:
    low, high = metadata.get("minimum"), metadata.get("maximum")
    for item in _leaves(value):
        if item is None:
            continue
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
    """The value for a message, shortened: YAML aliases can make it infinitely long."""
    short = reprlib.Repr()
    short.maxlist = short.maxtuple = short.maxdict = 20
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 3, 200, 200, 200
    return short.repr(value)
