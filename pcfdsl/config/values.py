"""Values of settings: which types there are, how a value is converted to one, and whether it is in range."""

import dataclasses
import math
import reprlib
import types
import typing
from collections.abc import Iterable
from typing import Any

from pcfdsl.recipes import expand_home

__all__ = ["choices_of", "convert", "is_group", "items_of", "kind_field", "kinds_of", "out_of_range", "shown"]

_MAX_INT = (1 << 63) - 1

_UNIONS = (types.UnionType, typing.Union)


def kinds_of(hint: Any) -> dict[str, type]:
    """The classes of a union of dataclasses by their kinds; empty for any other type."""
    classes = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else ()
    groups: list[Any] = [cls for cls in classes if dataclasses.is_dataclass(cls)]
    return {getattr(cls, kind_field(groups)): cls for cls in groups}


def kind_field(groups: Iterable[Any]) -> str:
    """The field that tells the classes of a union apart: in each of them it has one possible value."""
    (name,) = set.intersection(
        *({name for name, hint in typing.get_type_hints(cls).items() if len(choices_of(hint)) == 1} for cls in groups)
    )
    return name


def choices_of(hint: Any) -> tuple:
    """The values that a type admits, where it lists them."""
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def is_group(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) or bool(kinds_of(hint))


def items_of(hint: Any) -> Any:
    """The type of the groups that a field holds a list of, `tuple[Group, ...]`; None for any other type."""
    arguments = typing.get_args(hint)
    is_list = typing.get_origin(hint) is tuple and len(arguments) == 2 and arguments[1] is ...
    return arguments[0] if is_list and is_group(arguments[0]) else None


def convert(value: Any, hint: Any) -> tuple[Any, str | None]:
    """The value converted to the type, or what is wrong with it. Nothing is rounded, and no text is interpreted."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        for argument in arguments:
            converted, message = convert(value, argument)
            if message is None:
                return converted, None
        return value, f"expected {_name(hint)}, got {shown(value)}"
    if origin is typing.Literal:
        if any(type(value) is type(argument) and value == argument for argument in arguments):
            return value, None
        return value, f"expected one of {', '.join(map(str, arguments))}, got {shown(value)}"
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = [arguments[0]] * len(value) if arguments[-1] is ... else list(arguments)
        if len(inner) != len(value):
            return value, f"expected {len(inner)} values, got {len(value)}"
        pairs = [convert(item, kind) for item, kind in zip(value, inner, strict=True)]
        wrong = [message for _, message in pairs if message]
        return (value, wrong[0]) if wrong else (tuple(item for item, _ in pairs), None)
    if hint is float and not isinstance(value, bool):
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
            try:
                return float(value), None
            except ValueError:
                return value, f"expected a number, got {shown(value)}"
        if isinstance(value, (int, float)):
            try:
                return float(value), None
            except OverflowError:
                return value, f"expected a number, got {shown(value)}, which is too large"
    if hint is str and type(value) is int:  # a fold named 3
        return str(value), None
    if hint is str and isinstance(value, str):
        return expand_home(value), None
    if hint is type(None) and value is None:
        return None, None
    if isinstance(hint, type) and isinstance(value, hint) and (hint is not int or not isinstance(value, bool)):
        return value, None
    return value, f"expected {_name(hint)}, got {shown(value)}"


def _name(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return "a list"
    return "nothing (null)" if hint is type(None) else str(getattr(hint, "__name__", hint)).replace("NoneType", "null")


def out_of_range(value: Any, metadata: Any) -> str | None:
    low, high = metadata.get("minimum"), metadata.get("maximum")
    for item in _leaves(value):
        if item is None:
            continue
        if isinstance(item, float) and not math.isfinite(item):
            return f"must be a finite number, got {item}"
        if isinstance(item, int) and not -_MAX_INT <= item <= _MAX_INT:
            return f"must fit in 64 bits, got {shown(item)}"
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


def shown(value: Any) -> str:
    """The value for a message, shortened: YAML aliases can make it infinitely long."""
    short = reprlib.Repr()
    short.maxlist = short.maxtuple = short.maxdict = 20
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 3, 200, 200, 200
    return short.repr(value)
