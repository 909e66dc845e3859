"""Scenes as items of a page, a sheet or a window: each object in its own colour, boxes with their classes."""

from collections.abc import Iterable, Sequence

import numpy as np

from pcfdsl.scene.boxes import Scene
from pcfdsl.view.page import PageItem
from pcfdsl.view.render import label_colors

__all__ = ["scene_items"]


def scene_items(
    scenes: Iterable[Scene], *, classes: Sequence[str] = (), captions: Sequence[str] | None = None
) -> list[PageItem]:
    """One item per scene.

    Args:
        scenes: What to show.
        classes: Names of the categories; without them boxes are labelled by number.
        captions: One text per scene; by default numbers.
    """
    items = []
    for i, scene in enumerate(scenes):
        labels: list[str] = [classes[int(c)] if classes else str(c) for c in scene.categories.tolist()]
        title = captions[i] if captions else f"scene {i}"
        items.append(
            PageItem(
                points=scene.points,
                colors=label_colors(scene.instance_ids),
                boxes=scene.boxes,
                box_labels=labels,
                box_colors=label_colors(np.arange(len(labels))),
                caption=f"{title}: {len(labels)} boxes, {(scene.instance_ids >= 0).mean():.0%} of the points in them",
            )
        )
    return items
