"""Scenes as items of a page, a sheet or a window: in their colours or one for each object, boxes with their classes."""

from collections.abc import Iterable, Sequence

import numpy as np

from pcfdsl.scene.boxes import Scene
from pcfdsl.view.page import PageItem
from pcfdsl.view.render import label_colors

__all__ = ["detection_item", "scene_items"]


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
                colors=label_colors(scene.instance_ids) if scene.colors is None else _bytes(scene.colors),
                boxes=scene.boxes,
                box_labels=labels,
                box_colors=label_colors(np.arange(len(labels))),
                caption=f"{title}: {len(labels)} boxes, {(scene.instance_ids >= 0).mean():.0%} of the points in them",
            )
        )
    return items


def _bytes(colors: np.ndarray) -> np.ndarray:
    """[N, 3] uint8 of colours in 0..1."""
    return (colors * 255).round().astype(np.uint8)


def detection_item(
    points: np.ndarray,
    *,
    boxes: np.ndarray,
    names: Sequence[str],
    scores: np.ndarray,
    classes: Sequence[str],
    truth: Scene | None = None,
    caption: str = "",
) -> PageItem:
    """A cloud with what a detector found in it, and what is there where that is known; a colour for each class.

    Args:
        points: [N, 3] metres.
        boxes: [K, 7] found.
        names: Class name of each.
        scores: [K] certainty of each, 0 to 1.
        classes: Names of all classes.
        truth: The same cloud with its labels; where the only class is "object", every box is one.
        caption: What it is called.
    """
    colors = label_colors(np.arange(len(classes)))
    true_categories = np.zeros(0, np.int64) if truth is None else truth.categories * (len(classes) > 1)
    return PageItem(
        points=points,
        boxes=boxes,
        box_labels=names,
        box_colors=colors[[list(classes).index(name) for name in names]].reshape(-1, 3),
        box_scores=scores,
        truth_boxes=np.zeros((0, 7)) if truth is None else truth.boxes,
        truth_labels=[classes[int(k)] for k in true_categories],
        truth_colors=colors[true_categories],
        caption=caption,
    )
