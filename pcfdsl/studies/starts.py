"""Starting points of a comparison: names, and the weights that they stand for."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pcfdsl.checkpoints.run_folder import shipped_weights

__all__ = ["own_path", "parse_starts", "weights_digest"]


def parse_starts(texts: Sequence[str]) -> dict[str, str | None]:
    """`["scratch", "fractals=runs/a"]` -> {"scratch": None, "fractals": "runs/a"}.

    Raises:
        ValueError: If a name is empty or given twice, or it is clear that weights were meant without a name for them.
    """
    starts: dict[str, str | None] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not name or name in starts or (equals and not path):
            raise ValueError(
                f"{text!r} is not a starting point, or a duplicate; expected NAME (from scratch) or NAME=CHECKPOINT"
            )
        if not equals and (name in shipped_weights() or Path(name).is_file() or list(Path(name).glob("*.safetensors"))):
            raise ValueError(f"{name!r} names weights, not the start from them; write NAME={name}, such as own={name}")
        starts[name] = path if equals else None
    if len(bare := [name for name, path in starts.items() if path is None]) > 1:
        raise ValueError(f"{' and '.join(bare)} would be the same start, from scratch; give weights by NAME=CHECKPOINT")
    return starts


def own_path(checkpoint: str, seed: int) -> str:
    """The path of a seed's weights: `{seed}` stands for it."""
    return checkpoint.replace("{seed}", str(seed))


def weights_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
