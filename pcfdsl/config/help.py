"""The help text of settings."""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

from pcfdsl.config.settings import REQUIRED, default_of, plain
from pcfdsl.config.values import choices_of, is_group, items_of, kind_field, kinds_of

__all__ = ["describe"]


def describe(cls: type) -> str:
    """Help text: two lines per key, with default, choices and meaning; each class of group is described once."""
    return "\n".join(_described(cls, "", REQUIRED, {}))


def _described(cls: type, prefix: str, base: Any, places: dict[Any, tuple[str, Any]]) -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint, key, doc = hints[field.name], prefix + field.name, field.metadata.get("doc", "")
        default = default_of(field, base)
        items = items_of(hint)
        if items:
            hint, key, default = items, f"{key}[]", default[0]
            doc = f"{doc}; a list of"
        if not is_group(hint):
            choices = choices_of(hint)
            admitted = f" (one of {', '.join(map(str, choices))})" if len(choices) > 1 else ""
            yield f"{key} = {'required' if default is REQUIRED else plain(default)}{admitted}\n    {doc}"
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
            tag = kind_field(kinds.values())
            yield f"    One of {len(kinds)} {tag}s, {getattr(default, tag)} by default:"
        for group in kinds.values() or (hint,):
            yield from _described(group, key + ".", default if type(default) is group else REQUIRED, places)


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every value by its key path."""
    flat = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        group = dataclasses.is_dataclass(value)
        flat |= _flat(value, f"{prefix}{field.name}.") if group else {prefix + field.name: plain(value)}
    return flat
