"""Viewers and drawings in a notebook."""

import numpy as np
import pytest

import pcfdsl as pf
from pcfdsl.view.inline import plot, show

TRIANGLE = pf.IFS.from_maps(np.full((3, 2, 2), np.eye(2) / 2), [[0, 0], [0.5, 0], [0.25, 0.5]])


@pytest.fixture(scope="module")
def room():
    search = pf.SearchConfig(variance_threshold=0.05)
    fractals = pf.PCFractalConfig(num_categories=2, num_points=500, search=search)
    scenes = pf.SceneConfig(num_points=1000, objects=(2, 3))
    return pf.FractalScenes(pf.FractalScenesConfig(scenes=scenes, fractals=fractals))[0]


@pytest.fixture(autouse=True)
def no_window():
    import matplotlib

    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def test_the_viewer_holds_the_points_and_can_be_saved(tmp_path, room):
    shown = show(TRIANGLE, room, np.zeros((5, 3)), captions=["a <triangle>", "a room", "five points"])
    assert [len(item.points) for item in shown.items] == [10_000, 1000, 5]
    assert len(shown.items[1].boxes) == len(room.boxes)
    inline = shown._repr_html_()
    assert inline.startswith("<iframe srcdoc=")
    assert "<script" not in inline, "the page is escaped inside the attribute"
    page = shown.save(tmp_path / "page.html").read_text()
    assert "a room" in page


def test_drawings_have_the_points_and_the_boxes(room):
    flat = plot(TRIANGLE)
    assert len(flat.collections[0].get_offsets()) == 10_000
    axes = plot(room)
    axes.figure.canvas.draw()  # projects the lines
    points, edges = axes.collections
    assert len(points.get_offsets()) == 1000
    assert len(edges.get_segments()) == 13 * len(room.boxes)
    assert plot(np.zeros((3, 2)), ax=flat) is flat


def test_what_cannot_be_shown_is_named():
    with pytest.raises(ValueError, match="things is empty"):
        show()
    with pytest.raises(ValueError, match="captions has 1 texts for 2 things"):
        show(TRIANGLE, TRIANGLE, captions=["one"])
    with pytest.raises(TypeError, match="things holds a str"):
        plot("a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"points has shape \(4, 4\)"):
        show(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="orbit diverges"):
        plot(pf.IFS.from_maps([np.eye(3) * 3] * 2, np.eye(3)[:2]))
