"""The first samples of every native recipe are what they were when they were recorded.

Tolerance classes: with the NumPy, the numba and the CPU that were recorded, equal bit for bit. Elsewhere, where sines
and sums differ in the last bits, mean, deviation and extremes of each array agree to 1e-4 of its range; those of
pictures and of labels of points, in which a last bit can move a dot or a point, to 1e-2.

A change that is meant to change samples records them anew: `python tests/test_digests.py`.
"""

import hashlib
import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding

from pcfdsl.config import load
from pcfdsl.generate import images as image_sets
from pcfdsl.generate import pcfractal
from pcfdsl.generate.driver import Recipe
from pcfdsl.image.sets import ImageSetConfig, open_images
from pcfdsl.pointcloud.objects import ObjectClouds, ObjectsConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, PCFractalDB
from pcfdsl.scene.config import FractalScenesConfig
from pcfdsl.scene.synthesize import FractalScenes

FILE = Path(__file__).parent / "golden" / "digests.json"
NUM_SAMPLES = 3
TOLERANCE, DOTS_TOLERANCE = 1e-4, 1e-2
CLOUDS = ("num_categories=3", "num_instances=4", "num_points=2000", "search.variance_threshold=0.05")
FORMULAS = ("spherical_harmonics", "superquadrics", "composites", "growth")
SIZES = {
    "fractaldb": "num_categories: 2, num_instances: 5, image_size: 64",
    "exfractaldb": "num_categories: 2, num_instances: 5, image_size: 64",
    "rcdb": "num_categories: 2, num_instances: 5, image_size: 64",
    "visualatom": "num_categories: 2, num_instances: 5, image_size: 64",
    "segrcdb": "num_categories: 6, image_size: 64",
    "bezier": "num_categories: 2, num_instances: 5, image_size: 64",
    "perlin": "num_categories: 2, num_instances: 5, image_size: 64",
    "dead_leaves": "num_categories: 2, num_instances: 5, image_size: 64",
    "spectrum": "num_categories: 2, num_instances: 5, image_size: 64",
    "moire": "num_categories: 2, num_instances: 5, image_size: 64",
    "multi_fractal": "num_images: 10, image_size: 64, fractals: {num_categories: 6, image_size: 32, num_points: 2000}",
}


def clouds() -> PCFractalConfig:
    return load(PCFractalConfig, None, CLOUDS)


def scenes(*settings: str) -> Recipe:
    return FractalScenes(
        load(
            FractalScenesConfig,
            None,
            [
                "scenes={num_scenes: 4, num_points: 4000, objects: [3, 5]}",
                f"fractals={{{', '.join(setting.replace('=', ': ') for setting in CLOUDS[:3])}, "
                "search: {variance_threshold: 0.05}}",
                *settings,
            ],
        )
    )


def objects(formula: str) -> Recipe:
    settings = f"[{{formula: {formula}, num_categories: 3, num_instances: 1, num_points: 2000}}]"
    return ObjectClouds(load(ObjectsConfig, None, [f"objects={settings}"]))


def images(name: str) -> ImageSetConfig:
    return load(ImageSetConfig, None, [f"dataset={name}", f"{name}={{{SIZES[name]}}}"])


RECIPES: dict[str, Callable[[], Recipe]] = {
    "pcfractal_categories": lambda: pcfractal.searched_categories(clouds()),
    "pcfractal": lambda: PCFractalDB(clouds()),
    "filtered": lambda: PCFractalDB(load(PCFractalConfig, None, [*CLOUDS, "search.sampler=filtered"])),
    "scenes": scenes,
    **{formula: lambda formula=formula: objects(formula) for formula in FORMULAS},
    **{name: lambda name=name: open_images(images(name)) for name in SIZES},
    "one_parameter": lambda: open_images(load(ImageSetConfig, "image/one_parameter", ["fractaldb.image_size=64"])),
    **{
        f"{name}_categories": lambda name=name: image_sets.searched_categories(images(name))
        for name in ("fractaldb", "rcdb")
    },
}


def made_with() -> dict[str, str]:
    """What the last bits depend on; sines of NumPy are written for each kind of vector unit."""
    kinds = {"numpy": version("numpy"), "numba": version("numba"), "machine": platform.machine()}
    return kinds | {"cpu": binding.get_host_cpu_name()}


def describe(recipe: Recipe) -> dict[str, dict]:
    """Of each array of the first samples: checksum, kind, size, and what is known of its values."""
    found = {}
    for i in range(min(NUM_SAMPLES, len(recipe))):
        for key, array in recipe.arrays(i).items():
            array = np.ascontiguousarray(array)
            values = array.astype(np.float64) if array.size else np.zeros(1)
            found[f"{i} {key}"] = {
                "sha256": hashlib.sha256(
                    f"{array.dtype.newbyteorder('=')} {array.shape} ".encode() + array.tobytes()
                ).hexdigest(),
                "dtype": array.dtype.name,
                "shape": list(array.shape),
                "values": [
                    float(f"{value:.9g}") for value in (values.mean(), values.std(), values.min(), values.max())
                ],
            }
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_first_samples_are_those_recorded(name):
    recorded = json.loads(FILE.read_text())
    expected, found = recorded["recipes"][name], describe(RECIPES[name]())
    if recorded["made_with"] == made_with():
        assert {key: entry["sha256"] for key, entry in found.items()} == {
            key: entry["sha256"] for key, entry in expected.items()
        }
    assert found.keys() == expected.keys()
    for key, entry in found.items():
        assert entry["dtype"] == expected[key]["dtype"], key
        assert len(entry["shape"]) == len(expected[key]["shape"]), key
        *_, low, high = expected[key]["values"]
        dots = not entry["dtype"].startswith("float") and np.prod(entry["shape"]) > 100
        limit = (DOTS_TOLERANCE if dots else TOLERANCE) * max(1.0, high - low)
        np.testing.assert_allclose(entry["values"], expected[key]["values"], rtol=0, atol=limit, err_msg=key)


def test_every_recipe_is_recorded():
    assert json.loads(FILE.read_text())["recipes"].keys() == RECIPES.keys()


if __name__ == "__main__":
    content = {"made_with": made_with(), "recipes": {name: describe(make()) for name, make in RECIPES.items()}}
    FILE.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{FILE}: {sum(map(len, content['recipes'].values()))} arrays")
