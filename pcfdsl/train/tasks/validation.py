"""Data to evaluate on must have the classes of the data to train on."""

from collections.abc import Sequence
from itertools import zip_longest

from pcfdsl.config import ConfigError

__all__ = ["check_same_classes"]

_SHOWN = 3


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
    pairs = enumerate(zip_longest(validation, training, fillvalue="none"))
    differ = [f"number {k}: {own}, not {expected}" for k, (own, expected) in pairs if own != expected]
    if not differ:
        return
    shown = "; ".join(differ[:_SHOWN]) + ("; ..." if len(differ) > _SHOWN else "")
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
