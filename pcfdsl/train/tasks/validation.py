"""Data to evaluate on must have the classes of the data trained on."""

from collections.abc import Sequence
from itertools import zip_longest

from pcfdsl.config import ConfigError

__all__ = ["check_same_classes", "first_differences"]

_SHOWN = 3


def first_differences(classes: Sequence[str], expected: Sequence[str]) -> str:
    """The first classes that are not the expected ones, by number; empty if all are.

    >>> first_differences(["bed", "table"], ["bed", "chair", "desk"])
    'number 1: table, not chair; number 2: none, not desk'
    """
    pairs = enumerate(zip_longest(classes, expected, fillvalue="none"))
    differ = [f"number {k}: {own}, not {other}" for k, (own, other) in pairs if own != other]
    return "; ".join(differ[:_SHOWN]) + ("; ..." if len(differ) > _SHOWN else "")


def check_same_classes(training: Sequence[str], validation: Sequence[str]) -> None:
    """Refuse a validation set whose classes are others than the training set's, or in another order.

    Raises:
        ConfigError: With the numbers of classes and the first that differ.

    >>> check_same_classes(["bed", "chair"], ["bed", "chair"])
    >>> check_same_classes(["000000", "000001"], ["000000"])
    Traceback (most recent call last):
    pcfdsl.config.settings.ConfigError: validation: has 1 class, the training set 2 (number 1: none, not 000001); set \
validation to the same kind with the same classes, or 'validation={kind: none}'
    """
    shown = first_differences(validation, training)
    if not shown:
        return
    number = f"{len(validation)} class{'' if len(validation) == 1 else 'es'}"
    raise ConfigError(
        [
            (
                "validation",
                f"has {number}, the training set {len(training)} ({shown}); set validation to the same kind with the "
                "same classes, or 'validation={kind: none}'",
            )
        ]
    )
