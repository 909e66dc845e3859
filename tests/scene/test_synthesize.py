import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcfdsl.config import ConfigError, from_dict, load, to_dict
from pcfdsl.formula.search import SearchConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, PCFractalDB
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import Scene, points_in_boxes, votes
from pcfdsl.scene.config import (
    CameraConfig,
    FractalScenesConfig,
    ObjectScenesConfig,
    RoomConfig,
    SceneConfig,
    SizeConfig,
)
from pcfdsl.scene.furnish import _allot
from pcfdsl.scene.layout import LayoutConfig
from pcfdsl.scene.primitives import PrimitiveFurniture
from pcfdsl.scene.synthesize import FractalScenes, ObjectScenes, Scenes


def same(a: Scene, b: Scene) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.arrays().values(), b.arrays().values(), strict=True))


def fractals(**changes) -> FractalScenes:
    search = SearchConfig(variance_threshold=0.05)
    settings = SceneConfig(num_points=3000, num_scenes=20, **changes)
    return FractalScenes(
        FractalScenesConfig(scenes=settings, fractals=PCFractalConfig(num_categories=5, search=search))
    )


def test_scene_i_depends_on_nothing_but_its_number():
    scenes = fractals()
    expected = [scenes[i] for i in range(6)]
    assert not same(expected[0], expected[1])
    fresh = fractals()
    assert all(same(fresh[i], expected[i]) for i in (5, 0, 3, 3))
    assert same(pickle.loads(pickle.dumps(scenes))[4], expected[4])
    with ThreadPoolExecutor(4) as pool:
        assert all(map(same, pool.map(fractals().__getitem__, range(6)), expected))
    assert not same(fractals(seed=1)[0], expected[0])


def test_it_is_a_sequence_and_a_recipe():
    scenes = fractals()
    assert len(scenes) == 20
    assert same(scenes[-1], scenes[19])
    assert [same(a, b) for a, b in zip(scenes[2:8:3], (scenes[2], scenes[5]), strict=True)] == [True, True]
    with pytest.raises(IndexError, match="scene 20 of a set of 20"):
        scenes[20]
    assert list(scenes.arrays(0)) == ["points", "boxes", "categories", "instance_ids"]
    assert from_dict(FractalScenesConfig, to_dict(scenes.config)) == scenes.config
    assert scenes.name == "fractal_scenes"


@pytest.mark.parametrize("yaw", ["free", "quarter", "axis_aligned"])
@pytest.mark.parametrize("shape", ["fill", "keep", "metres"])
def test_boxes_hold_exactly_their_points_and_touch_them_on_every_face(shells, everything_seen, yaw, shape):
    settings = replace(everything_seen, layout=LayoutConfig(yaw=yaw), sizes=SizeConfig(shape=shape))
    for i in range(4):
        scene = Scenes(settings, shells)[i]
        assert len(scene.points) == 4000
        for k, box in enumerate(scene.boxes):
            points = scene.points[scene.instance_ids == k]
            assert points_in_boxes(points, box[None], margin=1e-5).all()
            for axis in range(3):
                shrunk = box.copy()
                shrunk[3 + axis] -= 1e-4
                inside = points_in_boxes(points, shrunk[None])[0]
                assert not inside.all()
            if yaw == "axis_aligned":
                assert box[6] == 0
            if yaw == "quarter":
                assert abs(np.sin(2 * box[6])) < 1e-6


def test_nothing_is_below_the_floor_and_floor_objects_stand_on_it(shells, everything_seen):
    settings = replace(everything_seen, layout=LayoutConfig(stacking=0.0))
    for scene in Scenes(settings, shells)[:5]:
        assert scene.points[:, 2].min() >= 0
        np.testing.assert_allclose(scene.boxes[:, 2], scene.boxes[:, 5] / 2, atol=1e-6)


def test_stacked_objects_rest_on_others(everything_seen):
    settings = replace(everything_seen, layout=LayoutConfig(stacking=1.0), objects=(8, 8))
    scenes = Scenes(settings, PrimitiveFurniture(classes=("stool", "table")))
    bottoms = np.concatenate([scene.boxes[:, 2] - scene.boxes[:, 5] / 2 for scene in scenes[:10]])
    raised = bottoms[bottoms > 0.01]
    assert len(raised) > 0
    assert raised.min() > 0.1


def test_votes_end_in_the_centres(shells):
    scene = Scenes(SceneConfig(num_points=3000), shells)[0]
    offsets, mask = votes(scene)
    owners = scene.boxes[scene.instance_ids[mask]]
    np.testing.assert_allclose(scene.points[mask] + offsets[mask], owners[:, :3], atol=1e-5)
    assert np.array_equal(mask, scene.instance_ids >= 0)


def test_cameras_hide_the_far_sides(shells):
    """Of a solid shell on the floor no camera sees the underside."""
    settings = SceneConfig(num_points=20_000, objects=(5, 5), noise=0.0, layout=LayoutConfig(stacking=0.0))
    scene = Scenes(settings, shells)[0]
    everything = Scenes(replace(settings, cameras=CameraConfig(number=(0, 0))), shells)[0]
    for made, low, high in ((scene, 0.0, 0.25), (everything, 0.35, 0.65)):
        rows = made.instance_ids >= 0
        below = made.points[rows, 2] < made.boxes[made.instance_ids[rows], 2]
        assert low < below.mean() < high + 0.2 * (made is scene)
    assert np.mean(scene.instance_ids >= 0) < 0.6


def test_seen_boxes_are_no_larger_than_full_ones(shells):
    settings = SceneConfig(num_points=3000, noise=0.0)
    full, seen = (Scenes(replace(settings, boxes=kind), shells)[1] for kind in ("full", "seen"))
    np.testing.assert_array_equal(full.points, seen.points)
    assert (seen.boxes[:, 3:6] <= full.boxes[:, 3:6] + 1e-5).all()
    assert (seen.boxes[:, 3:6] < full.boxes[:, 3:6] - 1e-3).any()


def test_where_no_object_is_seen_there_is_no_box(shells):
    settings = SceneConfig(num_points=500, boxes="seen", min_points=500)
    scene = Scenes(settings, shells)[0]
    assert scene.boxes.shape == (0, 7)
    assert (scene.instance_ids == -1).all()


def test_hardly_seen_objects_lose_their_label_and_become_background(shells):
    settings = SceneConfig(num_points=2000, min_points=100)
    for scene in Scenes(settings, shells)[:5]:
        counts = np.bincount(scene.instance_ids[scene.instance_ids >= 0], minlength=len(scene.boxes))
        assert (counts >= 100).all()
    assert len(Scenes(replace(settings, min_points=2000), shells)[0].boxes) == 0


def test_larger_objects_get_more_points_in_an_even_scan(shells, everything_seen):
    for exponent, low, high in ((1.0, 0.8, 1.0), (0.0, -0.3, 0.3)):
        sizes = SizeConfig(area_exponent=exponent)
        correlations = []
        for scene in Scenes(replace(everything_seen, sizes=sizes), shells)[:8]:
            counts = np.bincount(scene.instance_ids + 1, minlength=len(scene.boxes) + 1)[1:]
            dx, dy, dz = scene.boxes[:, 3:6].T
            area = dx * dy + dy * dz + dz * dx
            correlations.append(np.corrcoef(area, counts + stream(0).normal(0, 1e-3, len(counts)))[0, 1])
        assert low <= np.mean(correlations) <= high


def test_allotted_points_sum_up_and_keep_to_the_limit():
    rng = stream(0, "allot")
    for _ in range(100):
        weights = rng.random(rng.integers(1, 9)) ** 3
        counts = _allot(weights, 1000, 400)
        assert counts.sum() == min(1000, 400 * len(weights))
        assert counts.max() <= 400
    assert _allot(np.array([0.0, 1.0]), 10, 100).tolist() == [0, 10]


@pytest.mark.parametrize(
    "settings",
    [
        SceneConfig(num_points=500, objects=(0, 0)),
        SceneConfig(num_points=500, objects=(1, 1), room=RoomConfig(floor=False, walls=0.0, clutter=(0, 0))),
        SceneConfig(num_points=500, room=RoomConfig(share=0.0)),
        SceneConfig(
            num_points=500, room=RoomConfig(ceiling=True, walls=0.5), cameras=CameraConfig(number=(1, 1), fov=70)
        ),
        SceneConfig(num_points=50_000, objects=(1, 1), cameras=CameraConfig(oversampling=1.0)),
        SceneConfig(num_points=1, objects=(3, 3)),
        SceneConfig(num_points=500, layout=LayoutConfig(room=(0.2, 0.2))),
    ],
)
def test_unusual_settings_still_give_whole_scenes(shells, settings):
    for scene in Scenes(settings, shells)[:5]:
        assert scene.points.shape == (settings.num_points, 3)
        assert scene.instance_ids.max() < len(scene.boxes)


def test_a_bare_room_in_which_nothing_fits_is_an_error(shells):
    settings = SceneConfig(layout=LayoutConfig(room=(0.1, 0.1)), room=RoomConfig(share=0.0))
    with pytest.raises(ValueError, match="none of 8 objects fits"):
        Scenes(settings, shells)[0]


def test_contradictions_are_listed_with_their_keys():
    with pytest.raises(ConfigError) as caught:
        SceneConfig(objects=(9, 3), cameras=CameraConfig(number=(3, 1)), room=RoomConfig(height=(3.0, 2.0)))
    assert [key for key, _ in caught.value.problems] == ["objects", "cameras.number", "room.height"]
    with pytest.raises(ConfigError, match="may come out empty"):
        SceneConfig(objects=(0, 3), room=RoomConfig(floor=False))
    with pytest.raises(ConfigError, match="must not be below"):
        SizeConfig(low=(1.0, 1.0, 1.0), high=(0.5, 2.0, 2.0))


def test_categories_found_earlier_give_the_same_scenes():
    scenes = fractals()
    found = PCFractalDB(scenes.config.fractals, [scenes.source.database.category(k) for k in range(5)])
    assert same(FractalScenes(scenes.config, found)[2], scenes[2])


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs" / "scene").glob("*.yaml")), ids=lambda p: p.stem
)
def test_presets_load_and_give_scenes(path):
    if path.stem == "formulas":
        scenes = ObjectScenes(load(ObjectScenesConfig, path))
    else:
        fractals = ["fractals.num_categories=4", "fractals.search.variance_threshold=0.05"]
        scenes = FractalScenes(load(FractalScenesConfig, path, fractals))
    scene = scenes[0]
    assert scene.points.shape == (scenes.config.scenes.num_points, 3)
    assert len(scene.boxes) >= 1
