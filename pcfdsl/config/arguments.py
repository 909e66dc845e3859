"""Arguments of public functions: a wrong one is named."""

from types import UnionType
from typing import Any

__all__ = ["check_argument"]


def check_argument(name: str, value: Any, kind: type | UnionType) -> None:
    """Refuse a value of another type than the function expects.

    Raises:
        TypeError: With the argument's name, what it got and what it expects.

    >>> check_argument("config", "small.yaml", int | str)
    >>> check_argument("config", 3, str)
    Traceback (most recent call last):
    TypeError: config is an int; expected a str
    """
    if isinstance(value, kind):
        return
    kinds = kind.__args__ if isinstance(kind, UnionType) else (kind,)
    names = [single.__name__ for single in kinds]
    settings = isinstance(value, str) and names[0].endswith(("Config", "Source"))
    raise TypeError(
        f"{name} is {_with_article(type(value).__name__)}; expected {' or '.join(map(_with_article, names))}"
        f"{', which pcfdsl.load reads from a recipe' if settings else ''}"
    )


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"
