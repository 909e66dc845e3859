"""The toy task, and its script."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "toy_run.py"


@pytest.fixture(scope="session")
def toy():
    """The module of the toy task."""
    spec = importlib.util.spec_from_file_location("toy_run", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toy_script() -> Path:
    """The same as a script."""
    return SCRIPT
