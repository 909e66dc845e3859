import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.config import load
from pcfdsl.datasets.sources import FractalSource, ShardSource, open_scenes
from pcfdsl.scene.config import FractalScenesConfig, ObjectScenesConfig
from pcfdsl.scene.synthesize import FractalScenes, ObjectScenes

ROOT = Path(__file__).resolve().parents[2]
FRACTALS = ("--config", "scene/smoke", "scenes.num_points=500", "scenes.num_scenes=3")
FORMULAS = (
    "scenes={num_scenes: 3, num_points: 500, objects: [2, 4]}",
    "objects=[{formula: superquadrics, num_categories: 5}, {formula: spherical_harmonics, num_categories: 3}]",
)


@pytest.fixture
def tool(tmp_path):
    def run(name, *arguments, code=0):
        command = [sys.executable, ROOT / "tools" / f"{name}.py", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.mark.parametrize("kind", ["fractals", "formulas"])
def test_stored_scenes_are_those_of_the_recipe_and_serve_training(tool, tmp_path, kind):
    settings = FRACTALS if kind == "fractals" else FORMULAS
    made = json.loads(tool("generate_scenes", *settings, "--out", "set", "--workers", 2).stdout)
    assert (made["complete"], made["num_samples"]) == (True, 3)
    assert json.loads(tool("generate_scenes", *settings, "--out", "set").stdout)["num_made"] == 0
    assert json.loads(tool("generate_scenes", *settings, "--out", "set", "--verify").stdout)["sha256"] == made["sha256"]
    if kind == "fractals":
        recipe = FractalScenes(load(FractalScenesConfig, "scene/smoke", settings[2:]))
    else:
        recipe = ObjectScenes(load(ObjectScenesConfig, overrides=settings))
    stored = open_scenes(ShardSource(folder=str(tmp_path / "set")))
    assert len(stored.classes) == 8
    for scene, read in zip(recipe, stored.scenes, strict=True):
        for name, array in scene.arrays().items():
            np.testing.assert_array_equal(read.arrays()[name], array)


def test_scenes_stored_with_another_seed_are_a_validation_set(tool, tmp_path):
    """Those of a training with the same fractals: the same classes, other rooms."""
    tool("generate_scenes", *FRACTALS, "scenes.seed=1", "--out", "other")
    smoke = load(FractalScenesConfig, "scene/smoke", FRACTALS[2:])
    training = open_scenes(FractalSource(scenes=smoke.scenes, fractals=smoke.fractals))
    stored = open_scenes(ShardSource(folder=str(tmp_path / "other")))
    assert stored.classes == training.classes
    assert not np.array_equal(stored.scenes[0].points, training.scenes[0].points)


def test_the_cost_is_known_before_and_slips_are_named_by_their_kind(tool, tmp_path):
    dry = json.loads(tool("generate_scenes", *FRACTALS, "--dry-run").stdout)
    assert dry["num_samples"] == 3
    assert dry["num_bytes"] > 3 * 500 * 12
    assert not list(tmp_path.iterdir())
    said = tool("generate_scenes", "objects=[{formula: cubes}]", "--out", "set", code=2).stderr
    assert "objects.0.formula: expected one of ifs" in said
    said = tool("generate_scenes", "fractals.num_categories=0", "--out", "set", code=2).stderr
    assert "fractals.num_categories: must be at least 1" in said
    assert "error: --out is required" in tool("generate_scenes", *FRACTALS, code=2).stderr


def test_options_that_would_do_nothing_are_refused(tool):
    for options, message in (
        (("--verify", "--shard", "0/2"), "--verify checks the whole set and writes nothing"),
        (("--verify", "--overwrite"), "--verify checks the whole set and writes nothing"),
        (("--num-samples", 3), "--num-samples is for --verify"),
    ):
        assert message in tool("generate_scenes", *FRACTALS, "--out", "set", *options, code=2).stderr


def test_settings_of_two_kinds_of_sets_are_not_mixed(tool):
    said = tool(
        "generate_scenes", "--config", "scene/smoke", "objects=[{formula: growth}]", "--out", "set", code=2
    ).stderr
    assert "objects: does not go together with the rest; give either scenes, fractals or scenes, objects" in said
    said = tool("generate_scenes", *FRACTALS, "object=[]", "--out", "set", code=2).stderr
    assert "object: unknown key; known here: scenes, fractals" in said


def test_a_part_without_shards_says_so(tool):
    done = tool("generate_scenes", *FRACTALS, "--out", "set", "--shard", "0/2")
    assert "part 0 of 2 has nothing to do: the set has 1 shard(s) of up to 256 samples" in done.stderr
    assert json.loads(done.stdout)["num_made"] == 0
