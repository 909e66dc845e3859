"""What the tests of Triton kernels share."""

import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder of the test's own for compiled kernels."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    return tmp_path
