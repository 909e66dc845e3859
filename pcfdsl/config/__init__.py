"""YAML and command line -> frozen dataclass, with every problem listed at once.

A component declares its settings beside itself as a frozen keyword-only dataclass whose fields are made by `option`.
The field docs are the help text; types and bounds are checked wherever the dataclass is made, from a file or in Python.
"""

from pcfdsl.config.arguments import check_argument
from pcfdsl.config.help import describe
from pcfdsl.config.reading import from_dict, load, load_one_of
from pcfdsl.config.settings import (
    REQUIRED,
    ConfigError,
    Settings,
    differences,
    digest,
    option,
    to_dict,
    to_yaml,
    validate,
    within,
)
from pcfdsl.config.values import kinds_of

__all__ = [
    "REQUIRED",
    "ConfigError",
    "Settings",
    "check_argument",
    "describe",
    "differences",
    "digest",
    "from_dict",
    "kinds_of",
    "load",
    "load_one_of",
    "option",
    "to_dict",
    "to_yaml",
    "validate",
    "within",
]
