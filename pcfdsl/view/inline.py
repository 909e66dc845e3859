"""Clouds, systems and rooms in a notebook: an interactive viewer (`show`) or a matplotlib drawing (`plot`)."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcfdsl.formula.ifs import IFS
from pcfdsl.formula.iterate import chaos_game
from pcfdsl.pointcloud.pcfractal import FractalCloud
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import Scene
from pcfdsl.view.camera import check_points
from pcfdsl.view.page import PageItem, page_html, write_page
from pcfdsl.view.render import box_lines, height_colors
from pcfdsl.view.scenes import scene_items

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Shown", "plot", "show"]

Showable = IFS | FractalCloud | Scene | np.ndarray
SYSTEM_POINTS = 10_000


@dataclass(frozen=True, eq=False)
class Shown:
    """Things to look at; in a notebook, the last expression of a cell draws the interactive viewer.

    Attributes:
        items: What is shown.
        title: Title of the page.
        height: Height of the viewer in a notebook, pixels.
    """

    items: Sequence[PageItem]
    title: str = "pcfdsl"
    height: int = 480

    def save(self, path: str | Path) -> Path:
        """Write a self-contained HTML page; errors as for `pcfdsl.view.page.write_page`."""
        return write_page(path, self.items, title=self.title)

    def _repr_html_(self) -> str:
        page = html.escape(page_html(self.items, title=self.title), quote=True)
        return (
            f'<iframe srcdoc="{page}" title="{html.escape(self.title)}" '
            f'style="width:100%;height:{self.height}px;border:0"></iframe>'
        )


def show(
    *things: Showable, classes: Sequence[str] = (), captions: Sequence[str] | None = None, title: str = "pcfdsl"
) -> Shown:
    """An interactive viewer of one or more things.

    Args:
        things: Systems (their attractors are drawn), fractal clouds, scenes, and arrays of points [N, 3] or [N, 2].
        classes: Names of the scenes' categories; without them boxes are labelled by number.
        captions: One text per thing; by default what it is.
        title: Title of the page.

    Raises:
        TypeError: If a thing is none of these.
        ValueError: Without things, if the number of captions differs, or if a system's orbit diverges.

    >>> show(np.random.default_rng(0).random((100, 3))).items[0].points.shape
    (100, 3)
    """
    if not things:
        raise ValueError("things is empty; give at least one system, cloud, scene or array of points")
    if captions is not None and len(captions) != len(things):
        raise ValueError(f"captions has {len(captions)} texts for {len(things)} things; give one for each")
    titles = [f"{number} {_kind(thing)}" for number, thing in enumerate(things)] if captions is None else captions
    return Shown([_item(thing, text, classes) for thing, text in zip(things, titles, strict=True)], title=title)


def plot(thing: Showable, *, ax: Any = None, size: float = 1.0) -> "Axes":
    """Draw a system, cloud, scene or array with matplotlib: a plane figure in 2D; in 3D with boxes, z up.

    Args:
        thing: As for `show`.
        ax: Axes to draw on (3D ones for 3D); None makes a new figure.
        size: Area of a point, in square points.

    Returns:
        The axes.

    Raises:
        TypeError, ValueError: As for `show`.
    """
    from matplotlib import pyplot as plt
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    points = _points(thing)
    if ax is None:
        ax = plt.figure().add_subplot(projection="3d" if points.shape[1] == 3 else None)
    if points.shape[1] == 2:
        ax.scatter(*points.T, s=size, c="black", linewidths=0)
        ax.set_aspect("equal")
        return ax
    ax.scatter(*points.T, s=size, c=height_colors(points) / 255.0, linewidths=0)
    if isinstance(thing, Scene):
        ax.add_collection3d(
            Line3DCollection(box_lines(thing.boxes).reshape(-1, 2, 3), colors="crimson", linewidths=0.8)
        )
    ax.set_aspect("equal")
    return ax


def _item(thing: Showable, caption: str, classes: Sequence[str]) -> PageItem:
    if isinstance(thing, Scene):
        return scene_items([thing], classes=classes, captions=[caption])[0]
    points = _points(thing)
    if points.shape[1] == 2:
        points = np.pad(points, ((0, 0), (0, 1)))
    return PageItem(points=points, caption=f"{caption}: {len(points):,} points")


def _kind(thing: object) -> str:
    return "points" if isinstance(thing, np.ndarray) else type(thing).__name__


def _points(thing: Showable) -> np.ndarray:
    """[N, 3] or [N, 2] points of a thing."""
    if isinstance(thing, IFS):
        orbit = chaos_game(thing, SYSTEM_POINTS, stream(0, "show"))
        if orbit.stopped:
            raise ValueError("this system's orbit diverges, so that it has no attractor to draw; make it contract")
        return orbit.points
    if isinstance(thing, FractalCloud | Scene):
        return thing.points
    if not isinstance(thing, np.ndarray):
        raise TypeError(
            f"things holds a {type(thing).__name__}; expected an IFS, a fractal cloud, a scene or an array of points"
        )
    if thing.ndim != 2 or thing.shape[1] not in (2, 3):
        raise ValueError(f"points has shape {thing.shape}; expected [N, 3] or [N, 2]")
    return thing if thing.shape[1] == 2 else check_points(thing)
