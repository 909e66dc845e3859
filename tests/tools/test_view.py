import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def view(tmp_path):
    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        for name in ("DISPLAY", "WAYLAND_DISPLAY"):
            environment.pop(name, None)
        command = [sys.executable, ROOT / "tools" / "view.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment)

    return run


def test_page_and_sheet_of_a_stack_of_clouds(view, tmp_path):
    np.save(tmp_path / "clouds.npy", np.random.default_rng(0).normal(size=(5, 200, 3)))
    result = view("clouds.npy", "--html", "out/page.html", "--png", "sheet.png", "--num-items", "4", "--columns", "2")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"clouds": 4, "html": "out/page.html", "png": "sheet.png"}
    assert (tmp_path / "out" / "page.html").read_text().startswith("<!DOCTYPE html>")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 2 * (320 + 12) + 12


def test_clouds_with_boxes_are_called_scenes(view):
    result = view("scene/smoke", "--html", "page.html", "--num-items", "2")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"scenes": 2, "html": "page.html"}


def test_what_went_wrong_is_one_line(view, tmp_path):
    for arguments, message in ((["missing.npy"], "there is no missing.npy"), ([tmp_path], "holds no clouds")):
        result = view(*arguments)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("error: ")
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_without_a_display_it_says_how_else_to_look(view, tmp_path):
    np.save(tmp_path / "cloud.npy", np.zeros((5, 3)))
    result = view("cloud.npy")
    assert result.returncode == 1
    assert "--html" in result.stderr
