"""What is in the folders that jobs leave, for comparisons."""

import hashlib
from pathlib import Path

from safetensors.torch import load_file

from pcfdsl.train.log import read_log

# How long steps took is another matter.
_LOGGED = ("step", "kind", "loss", "gradient_norm", "learning_rate")


def content(out: Path) -> dict[str, str]:
    """Checksum of every file of a set by its path."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def trained(out: Path) -> dict[str, object]:
    """The log of a run and its weights, bit for bit."""
    log = [{name: record[name] for name in _LOGGED if name in record} for record in read_log(out)]
    weights = {
        f"{name}: {key}": tensor.numpy().tobytes()
        for name in ("last", "best")
        for key, tensor in load_file(out / f"{name}.safetensors").items()
    }
    return {"log": log, **weights}


def differences(a: dict, b: dict) -> list[str]:
    """Keys whose values are not the same in both."""
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
