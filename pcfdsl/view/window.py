"""An interactive window through Open3D."""

import os
import sys
from collections.abc import Sequence

import numpy as np

from pcfdsl.view.camera import Camera
from pcfdsl.view.page import PageItem, Picture
from pcfdsl.view.render import BOX_COLOR, box_lines, height_colors

__all__ = ["NoWindowError", "show"]

INSTEAD = "or write a page for the browser (--html FILE) or pictures (--png FILE)"


class NoWindowError(OSError):
    """A window cannot be opened here; the message says why and what to do."""


def show(items: Sequence[PageItem | Picture], *, title: str = "pcfdsl") -> None:
    """Show one cloud at a time in a window until it is closed; N and P go to the next and the previous one.

    Raises:
        NoWindowError: If Open3D is missing, there is no display, or items are pictures.
        ValueError: Without items.
    """
    if not items:
        raise ValueError("there is nothing to show: the list of items is empty")
    clouds = [item for item in items if isinstance(item, PageItem)]
    if len(clouds) < len(items):
        raise NoWindowError(
            "the window shows only clouds; for pictures, write a page (--html FILE) or a contact sheet (--png FILE)"
        )
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise NoWindowError(
            f"there is no display (DISPLAY and WAYLAND_DISPLAY are not set); use a machine with one, {INSTEAD}"
        )
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise NoWindowError(
            f"the window needs Open3D, which could not be loaded ({error}); `pip install pcfdsl[view]`, {INSTEAD}"
        ) from error

    window = open3d.visualization.VisualizerWithKeyCallback()
    if not window.create_window(window_name=title, width=1200, height=800):
        raise NoWindowError(f"Open3D could not open a window (no OpenGL on this display?); {INSTEAD}")
    window.get_render_option().point_size = 2.5
    current = 0

    def display(change: int) -> bool:
        nonlocal current
        current = (current + change) % len(clouds)
        window.clear_geometries()
        for geometry in _geometries(open3d, clouds[current]):
            window.add_geometry(geometry)
        _look_at(window, clouds[current])
        print(f"{clouds[current].caption} ({len(clouds[current].points)} points)", file=sys.stderr)
        return True

    window.register_key_callback(ord("N"), lambda _: display(1))
    window.register_key_callback(ord("P"), lambda _: display(-1))
    display(0)
    window.run()
    window.destroy_window()


def _look_at(window, item: PageItem) -> None:
    """Start from the viewpoint of the pictures and pages, z up."""
    camera = Camera.looking_at(np.concatenate([item.points, box_lines(item.boxes).reshape(-1, 3)]))
    view = np.subtract(camera.position, camera.target)
    control = window.get_view_control()
    control.set_front(view / np.linalg.norm(view))
    control.set_up(camera.up)
    control.set_lookat(camera.target)
    control.set_zoom(0.6)


def _geometries(open3d, item: PageItem) -> list:
    """The cloud and the lines of its boxes as Open3D geometries."""
    colors = height_colors(item.points) if item.colors is None else item.colors
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(np.asarray(item.points, dtype=np.float64)))
    cloud.colors = open3d.utility.Vector3dVector(colors / 255.0)
    lines = box_lines(item.boxes)
    if len(lines) == 0:
        return [cloud]
    box_colors = np.tile(BOX_COLOR, (len(lines), 1)) if item.box_colors is None else item.box_colors
    frame = open3d.geometry.LineSet(
        open3d.utility.Vector3dVector(lines.reshape(-1, 3)),
        open3d.utility.Vector2iVector(np.arange(2 * 13 * len(lines)).reshape(-1, 2)),
    )
    frame.colors = open3d.utility.Vector3dVector(np.repeat(box_colors, 13, axis=0) / 255.0)
    return [cloud, frame]
