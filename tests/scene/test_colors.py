"""Colours of generated rooms: smooth, one base for each part, the points' own wherever a scene goes."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from pcfdsl.datasets.detection_set import DetectionSet, write_info, write_scene, write_split
from pcfdsl.datasets.scene_shards import SceneShards
from pcfdsl.formula.search import SearchConfig
from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.rng import stream
from pcfdsl.scene import synthesize
from pcfdsl.scene.colors import Thing, draw_colors
from pcfdsl.scene.config import FractalScenesConfig, SceneConfig, SizeConfig
from pcfdsl.scene.objects import PartSource
from pcfdsl.scene.primitives import PrimitiveFurniture
from pcfdsl.scene.synthesize import FractalScenes, Scenes
from pcfdsl.view.scenes import scene_items

PLAIN = SceneConfig(num_points=3000, num_scenes=4, sizes=SizeConfig(shape="metres"))
COLORED = replace(PLAIN, colors="random")


def fractal_rooms(settings: SceneConfig) -> FractalScenes:
    fractals = PCFractalConfig(num_categories=4, search=SearchConfig(variance_threshold=0.05))
    return FractalScenes(FractalScenesConfig(scenes=replace(settings, sizes=SizeConfig()), fractals=fractals))


@pytest.mark.parametrize("rooms", [fractal_rooms, lambda settings: Scenes(settings, PrimitiveFurniture())])
def test_everything_else_is_the_same_with_and_without(rooms):
    plain, colored = rooms(PLAIN), rooms(COLORED)
    for i in range(3):
        assert plain[i].colors is None
        arrays = colored[i].arrays()
        colors = arrays.pop("colors")
        assert colors.shape == (3000, 3)
        assert colors.min() >= 0
        assert colors.max() <= 1
        assert colors.std(axis=0).min() > 0.05
        for name, array in plain[i].arrays().items():
            np.testing.assert_array_equal(arrays.pop(name), array)
        assert not arrays
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(colored))[i].colors, colors)
    assert not np.array_equal(colored[0].colors, colored[1].colors)


def test_points_keep_the_colour_of_their_thing_past_cameras_and_thinning(monkeypatch):
    """Things come in the order of the boxes, then the room's; here each has its number as its colour."""

    def numbered(rng, things):
        numbers = np.repeat(np.arange(len(things)), [len(thing.points) for thing in things])
        return np.repeat(numbers[:, None] / 255, 3, axis=1).astype(np.float32)

    monkeypatch.setattr(synthesize, "draw_colors", numbered)
    settings = replace(COLORED, min_points=1, objects=(8, 8))
    for scene in Scenes(settings, PrimitiveFurniture())[:3]:
        things = np.round(scene.colors[:, 0] * 255).astype(int)
        objects = [np.unique(things[scene.instance_ids == k]) for k in range(len(scene.boxes))]
        assert all(len(own) == 1 for own in objects)  # an object's points have one thing's colour
        assert (np.diff(np.concatenate(objects)) > 0).all()  # and each object another's
        assert things[scene.instance_ids == -1].min() > max(int(own[0]) for own in objects)
        floor = things[(scene.instance_ids == -1) & (np.abs(scene.points[:, 2]) < 0.01)]
        assert np.bincount(floor).max() > 0.9 * len(floor)


def test_a_field_is_smooth_and_parts_differ_in_their_base():
    grid = np.stack(np.meshgrid(*[np.linspace(0, 2, 12)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    parts = (grid[:, 0] > 1).astype(np.int64)
    near, far, jump = [], [], []
    for seed in range(20):
        whole = draw_colors(stream(seed), [Thing(points=grid)]).reshape(12, 12, 12, 3)
        near.append(np.abs(np.diff(whole, axis=0)).mean())
        far.append(np.abs(whole[:6] - whole[6:]).mean())
        halves = draw_colors(stream(seed), [Thing(points=grid, parts=parts, num_parts=2)]).reshape(12, 12, 12, 3)
        jump.append(np.abs(halves[5] - halves[6]).mean())
    assert np.mean(near) < 0.5 * np.mean(far)
    assert np.mean(jump) > 3 * np.mean(near)


def test_a_field_belongs_to_a_thing_wherever_it_stands_and_however_large_it_is():
    cloud = stream(0).random((500, 3))
    colors = draw_colors(stream(1), [Thing(points=cloud)])
    np.testing.assert_allclose(draw_colors(stream(1), [Thing(points=3 * cloud + 7)]), colors, atol=1e-6)
    both = draw_colors(stream(1), [Thing(points=cloud), Thing(points=cloud)])
    assert np.abs(both[:500] - both[500:]).mean() > 0.05
    assert draw_colors(stream(1), [Thing(points=cloud[:0])]).shape == (0, 3)
    assert np.isfinite(draw_colors(stream(1), [Thing(points=cloud[:1])])).all()


def test_furniture_knows_the_part_of_each_point():
    source = PrimitiveFurniture(classes=("lamp",))
    assert isinstance(source, PartSource)
    points, category, parts, num_parts = source.sample_in_parts(stream(3), 2000)
    alone, same_category = source.sample(stream(3), 2000)
    np.testing.assert_array_equal(points, alone)
    assert category == same_category
    assert num_parts == 3
    heights = [points[parts == k, 2] for k in range(3)]  # foot, pole, shade
    assert heights[0].max() <= 0.03 + 1e-6
    assert heights[2].min() > 0.5
    assert heights[1].min() >= -1e-6
    assert np.hypot(*points[parts == 1, :2].T).max() <= 0.0175 + 1e-6


def test_stored_rooms_have_them_bit_for_bit(tmp_path):
    rooms = fractal_rooms(replace(COLORED, num_scenes=2, num_points=500))
    generate(rooms, tmp_path / "shards", options=RunOptions(progress=False))
    np.testing.assert_array_equal(SceneShards(tmp_path / "shards")[1].colors, rooms[1].colors)
    write_info(tmp_path / "set", ["a", "b", "c", "d"])
    write_scene(tmp_path / "set", "room", rooms[0])
    write_split(tmp_path / "set", "train", ["room"])
    np.testing.assert_array_equal(DetectionSet(tmp_path / "set", "train")[0].colors, rooms[0].colors)


def test_rooms_are_shown_in_their_colours():
    scene = fractal_rooms(COLORED)[0]
    (item,) = scene_items([scene])
    np.testing.assert_array_equal(item.colors, np.round(scene.colors * 255).astype(np.uint8))
