"""Kernels are compiled once, and anew when a file has changed that they take something from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pcfdsl import jit

OUTER = """
from pcfdsl.inner import FACTOR, inner
from pcfdsl.jit import kernel

@kernel
def outer(x):
    return inner(x) * FACTOR
"""
INNER = """
from pcfdsl.jit import kernel

FACTOR = {factor}

@kernel
def inner(x):
    return x + {term}
"""


@pytest.fixture
def run(tmp_path):
    """Write a package of two files with kernels, call the one that takes from the other: its value, and cache hits."""
    package = tmp_path / "pcfdsl"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(jit.__file__, package / "jit.py")
    (package / "outer.py").write_text(OUTER)

    def run(term: int, factor: int, **environment: str) -> tuple[int, int]:
        (package / "inner.py").write_text(INNER.format(term=term, factor=factor))
        code = "from pcfdsl.outer import outer; print(outer(1), sum(outer.stats.cache_hits.values()))"
        env = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"} | environment
        command = [sys.executable, "-c", code]  # which looks for packages in the working folder first
        out = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        value, hits = out.stdout.split()
        return int(value), int(hits)

    return run


def test_kernels_are_kept(run, tmp_path):
    assert run(term=1, factor=1) == (2, 0)
    assert run(term=1, factor=1) == (2, 1)
    assert (tmp_path / "pcfdsl" / "__pycache__" / "kernels").is_dir()


def test_another_files_kernels_and_constants_are_seen(run):
    assert run(term=1, factor=1)[0] == 2
    assert run(term=2, factor=1)[0] == 3
    assert run(term=2, factor=5)[0] == 15


def test_numbas_own_folder_is_used_if_it_is_set(run, tmp_path):
    run(term=1, factor=1, NUMBA_CACHE_DIR=str(tmp_path / "kept"))
    assert list((tmp_path / "kept").rglob("*.nbi"))
    assert not (tmp_path / "pcfdsl" / "__pycache__" / "kernels").exists()


def test_sources_are_all_that_a_file_imports():
    package = Path(jit.__file__).parent
    names = {file.relative_to(package).as_posix() for file in jit.sources(package / "pointcloud" / "mix.py")}
    assert {"pointcloud/mix.py", "formula/iterate.py", "formula/normalize.py", "jit.py"} <= names
    assert "formula/superquadrics.py" not in names
