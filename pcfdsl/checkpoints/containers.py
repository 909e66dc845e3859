"""Where in a checkpoint the network is: containers and prefixes of any project, found by the names that are looked for.

A checkpoint holds tensors under a key such as `state_dict`, or several of them; the tensors have names that begin with
what wraps the network (`module.`, `_orig_mod.`) or holds it (`model.`, `backbone.`, `teacher.backbone.`). No list of
either would ever be complete. So every container is looked into and every beginning of a name is tried, and the one
wins under which most names are known. Lists only decide where a network is there twice.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Found", "find_network", "state_dicts"]

# Wrappers of data-parallel training, torch.compile and FSDP, which stand anywhere in a name.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_MAX_PREFIX = 10  # parts of a name

# Where a network is there twice: moving averages go first, as in timm's own loader, and what only serves training last.
_AVERAGES = frozenset(
    {"ema", "teacher", "ema_model", "model_ema", "state_dict_ema", "ema_state_dict", "model_state_ema", "params_ema"}
)
_HELPERS = frozenset({"student", "encoder_k", "momentum_encoder", "target", "target_encoder", "target_network"})
# Keys of a whole network: what lies beside them is something else. Others, such as `encoder` beside `head`, are parts.
_WHOLE = frozenset(
    {
        "model_state_dict",
        "state_dict",
        "model_state",
        "model",
        "params",
        "net",
        "network",
        "student",
        "weights",
        "module",
    }
)
_CONTAINERS = _AVERAGES | _WHOLE


@dataclass(frozen=True)
class Found:
    """A network in a checkpoint.

    Attributes:
        state: Its tensors by their names without what they had in common, and the others of its container.
        place: The keys and the beginning of names under which it was, joined by dots.
        others: Where else the same names are.
    """

    state: dict[str, Tensor]
    place: str
    others: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the choice."""
        average = ", a moving average" if _rank(self.place) == 0 else ""
        others = f", not those under {' or '.join(self.others)}" if self.others else ""
        return (f"the weights are those under {self.place}{average}{others}",) if average or others else ()


def state_dicts(content: Any) -> dict[str, dict[str, Tensor]]:
    """Every group of tensors in a checkpoint by its keys, joined by dots, without wrappers in the names.

    A network saved in parts, as in `{"encoder": {...}, "head": {...}}`, is one group whose names begin with the part.
    """
    groups = {place: _unwrapped(dict(_tensors(inside, "", set()))) for place, inside in _containers(content, "", set())}
    return {place: state for place, state in groups.items() if state}


def find_network(groups: Mapping[str, dict[str, Tensor]], known: Callable[[str], object]) -> Found | None:
    """The network most of whose names are known; None if no name is.

    Args:
        groups: See `state_dicts`.
        known: Name -> whether the network that is looked for has it.
    """
    candidates = []
    for place, state in groups.items():
        for prefix, count in _prefixes(state, known).items():
            where = ".".join(part for part in (place, prefix) if part)
            candidates.append((-count, _rank(where), bool(prefix) * (1 + prefix.count(".")), where, place, prefix))
    candidates.sort(key=lambda candidate: candidate[:3])  # stable: otherwise by the order in the file
    for count, _, _, where, place, prefix in candidates:
        state = _without(groups[place], prefix)
        if state is not None:
            twins = [where]
            for other in (candidate[3] for candidate in candidates if candidate[0] == count):
                twins += [] if any(_nested(other, twin) for twin in twins) else [other]
            return Found(state, where, tuple(twins[1:]))
    return None


def _containers(content: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Mapping]]:
    if not isinstance(content, Mapping) or id(content) in seen:  # a pickle can hold itself
        return
    seen.add(id(content))
    for key, value in content.items():
        if key in _CONTAINERS:
            yield from _containers(value, f"{place}.{key}".lstrip("."), seen)
    yield place, content


def _tensors(content: Mapping, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Tensors by name, of parts too, but not of containers inside nor of an optimiser's state."""
    seen.add(id(content))
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping) and id(value) not in seen and _is_part(key):
            yield from _tensors(value, f"{prefix}{key}.", seen)


def _is_part(key: Any) -> bool:
    return isinstance(key, str) and key not in _CONTAINERS and not key.startswith("optim")


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {".".join(part for part in name.split(".") if part not in _WRAPPERS): t for name, t in state.items()}
    return renamed if len(renamed) == len(state) else state


def _prefixes(state: Mapping[str, Tensor], known: Callable[[str], object]) -> Counter[str]:
    """How many names are known after each beginning."""
    counts: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")[:_MAX_PREFIX]
        for end in range(len(parts)):
            prefix = ".".join(parts[:end])
            if known(name[len(prefix) + 1 :] if prefix else name):
                counts[prefix] += 1
    return counts


def _without(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor] | None:
    """Names without the prefix; None if two would be the same."""
    if not prefix:
        return state
    start = f"{prefix}."
    renamed = {name.removeprefix(start): tensor for name, tensor in state.items()}
    return renamed if len(renamed) == len(state) else None


def _rank(place: str) -> int:
    parts = set(place.split("."))
    return 0 if parts & _AVERAGES else 2 if parts & _HELPERS else 1


def _nested(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.") or not one or not other
