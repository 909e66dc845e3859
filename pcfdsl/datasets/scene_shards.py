"""Scenes that were generated as shards, read back as a sequence."""

from pathlib import Path
from typing import Any

from pcfdsl.pointcloud.pcfractal import category_names
from pcfdsl.scene.boxes import Scene, SceneSequence
from pcfdsl.store.stored import open_set

__all__ = ["SceneShards", "stored_formulas"]


class SceneShards(SceneSequence):
    """Scenes in shards; scene i equals that of the recipe bit for bit.

    Args:
        folder: What `pcfdsl.generate.driver.generate` wrote of a recipe of scenes.

    Raises:
        OSError, ValueError: If the folder holds no shards, or shards of something other than scenes.
    """

    def __init__(self, folder: str | Path):
        self.stored = open_set(folder)
        found = set(self.stored[0]) if len(self.stored) else set()
        if missing := {"points", "boxes", "categories", "instance_ids"} - found:
            raise ValueError(f"{folder} is not a set of scenes: its samples have no {', '.join(sorted(missing))}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories: six-digit numbers. Reads all scenes if the recipe does not give their number."""
        formulas = stored_formulas(self.stored.manifest.config)
        number = sum(formula.get("num_categories", 0) for formula in formulas) or 1 + max(
            (scene.categories.max(initial=-1) for scene in self), default=-1
        )
        return category_names(number)

    def __len__(self) -> int:
        return len(self.stored)

    def scene(self, index: int) -> Scene:
        """Read scene `index`."""
        return Scene(**self.stored[index])


def stored_formulas(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of a stored set's formulas, in the order of their categories; none if it is no set of scenes."""
    if "scenes" not in config:  # in a recipe of scenes alone, `objects` is how many there are
        return []
    return config.get("objects", [config["fractals"]] if "fractals" in config else [])
