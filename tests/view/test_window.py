import builtins
import sys

import numpy as np
import pytest

from pcfdsl.view.page import PageItem
from pcfdsl.view.window import NoWindowError, show


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_without_a_display_the_error_names_the_other_ways(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(NoWindowError, match=r"no display.*--html FILE.*--png FILE"):
        show([PageItem(np.zeros((1, 3)))])


def test_without_open3d_the_error_names_the_extra(monkeypatch):
    real_import = builtins.__import__

    def without_open3d(name, *rest):
        if name.partition(".")[0] == "open3d":
            raise ImportError("No module named 'open3d'")
        return real_import(name, *rest)

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(builtins, "__import__", without_open3d)
    with pytest.raises(NoWindowError, match=r"pip install pcfdsl\[view\]"):
        show([PageItem(np.zeros((1, 3)))])


def test_nothing_to_show():
    with pytest.raises(ValueError, match="nothing to show"):
        show([])
