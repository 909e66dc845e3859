"""Fixtures every test may use."""

import os
from pathlib import Path

# One thread a process, set before anything imports torch: on busy cores torch's threads wait for each other, and the
# suite runs in as many processes as there are cores. Tests that need more say so.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).resolve().parent / "golden"


# The first example of a property may have to compile a kernel.
settings.register_profile("pcfdsl", deadline=None)
settings.load_profile("pcfdsl")


def pytest_collection_modifyitems(config, items):
    """Leave the slow tests and the fault suite out unless a marker expression was given."""
    if config.getoption("-m"):
        return
    for item in items:
        for marker in ("slow", "faults"):
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"{marker}: run with `pytest -m {marker}`"))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of real samples that may not be redistributed; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("PCFDSL_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the real samples: no folder {folder} (set PCFDSL_SHARED)")
    return folder


@pytest.fixture(scope="session")
def golden():
    """Loader of the measured reference arrays in tests/golden: golden("name.npz")."""

    def load(name: str):
        return np.load(GOLDEN / name, allow_pickle=False)

    return load


@pytest.fixture(scope="session")
def boxes_of_camera_corners():
    """Converter of VoteNet's evaluation corners [K, 8, 3] to our boxes [K, 7].

    The corners are in the upright camera frame (x right, y down, z forward); their signs along (length, height, width)
    are (+++)(++-)(-+-)(-++)(+-+)(+--)(---)(--+), and the width lies along the camera's z at heading 0.
    """
    import torch

    def convert(corners):
        points = torch.stack([corners[..., 0], corners[..., 2], -corners[..., 1]], -1)
        length, width, height = points[:, 0] - points[:, 3], points[:, 0] - points[:, 1], points[:, 4] - points[:, 0]
        extents = torch.stack([edge.norm(dim=1) for edge in (length, width, height)], 1)
        return torch.cat([points.mean(1), extents, torch.atan2(length[:, 1], length[:, 0])[:, None]], 1)

    return convert


@pytest.fixture(params=["torch", "minkowski"])
def backend(request) -> str:
    """What computes sparse convolutions; every test that asks for it holds for both."""
    if request.param == "minkowski":
        from pcfdsl.ops.sparse import minkowski

        if not minkowski.is_available():
            pytest.skip("MinkowskiEngine is not installed (third_party/minkowskiengine/build.sh)")
    return request.param
