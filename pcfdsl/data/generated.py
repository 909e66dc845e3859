"""Scenes that the driver has made and stored, read back as a sequence."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

from pcfdsl.scene.boxes import Scene
from pcfdsl.store.stored import open_set

__all__ = ["GeneratedScenes"]


class GeneratedScenes(Sequence[Scene]):
    """A stored set of scenes; scene i equals that of the recipe bit for bit.

    Args:
        folder: What `pcfdsl.generate.generate` wrote of a recipe of scenes.

    Raises:
        OSError, ValueError: If the folder is no stored set, or one of something else than scenes.
    """

    def __init__(self, folder: str | Path):
        self.stored = open_set(folder)
        found = set(self.stored[0]) if len(self.stored) else set()
        if missing := {"points", "boxes", "categories", "instance_ids"} - found:
            raise ValueError(f"{folder} is no set of scenes: its samples have no {', '.join(sorted(missing))}")

    def __len__(self) -> int:
        return len(self.stored)

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scene]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Scene(**self.stored[index])
