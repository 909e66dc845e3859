"""Safe YAML without surprises."""

import re
from collections import Counter
from collections.abc import Hashable
from typing import Any

import yaml

__all__ = ["NOT_YAML", "read_yaml"]

# PyYAML's own errors, and what its constructors raise for values such as `!!bool x` or deep nesting.
NOT_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


def read_yaml(text: str) -> Any:
    """Read a YAML document.

    Raises:
        `NOT_YAML`: If it is not valid.
    """
    return yaml.load(text, Loader=_StrictLoader)


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
