"""The public interface of the package."""

import re
import subprocess
import sys

import pytest

import pcfdsl
from tests.conftest import REPOSITORY


def test_every_public_name_is_there():
    for name in pcfdsl.__all__:
        assert getattr(pcfdsl, name).__name__ == name
    assert set(pcfdsl.__all__) <= set(dir(pcfdsl))
    for name in pcfdsl.ops.__all__:
        assert getattr(pcfdsl.ops, name).__name__.removeprefix("pcfdsl.ops.") == name
    with pytest.raises(AttributeError, match="has no attribute 'utils'"):
        pcfdsl.utils  # noqa: B018


def test_the_package_is_imported_without_what_its_names_need():
    heavy = ("torch", "numba", "numpy", "scipy", "yaml")
    command = f"import sys, pcfdsl; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    command = "import sys, pcfdsl; pcfdsl.PCFractalDB, pcfdsl.Scenes, pcfdsl.open_scenes; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_readme_needs_one_import():
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if re.match(r"\s*(import|from) ", line)]
    assert lines == ["import pcfdsl as pf"]
