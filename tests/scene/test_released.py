import pickle
import re

import numpy as np
import pytest

from pcfdsl.config import from_dict
from pcfdsl.datasets.sources import ReleasedSource, open_scenes
from pcfdsl.scene.boxes import points_in_boxes
from pcfdsl.scene.released import draw_layout

NUM_FILES = 37


def drawn(seed: int, num_objects: int = 15):
    return draw_layout(np.random.RandomState(seed), NUM_FILES, num_objects=num_objects)


def test_layouts_equal_those_of_the_released_script_number_by_number(golden):
    measured = golden("pcfractal_scenes.npz")  # rows: size 3, position 3, theta, index of the file
    for name in measured.files:
        seed, num_objects = map(int, re.findall(r"\d+", name))
        ours = [[*o.size, *o.position, o.theta, o.file_idx] for o in drawn(seed, num_objects)]
        np.testing.assert_array_equal(ours, measured[name])


def test_numbers_of_objects_and_sizes_are_as_measured_on_the_released_script():
    for num_objects, mean in ((15, 20.1), (5, 9.9)):
        counts = [len(drawn(seed, num_objects)) for seed in range(200)]
        assert np.mean(counts) == pytest.approx(mean, abs=0.6)
        assert min(counts) >= num_objects
    sizes = np.array([o.size for seed in range(50) for o in drawn(seed)])
    assert 0.67 < sizes.min() < sizes.max() < 1.38


def test_objects_stand_on_the_floor_at_a_distance():
    for seed in range(20):
        objects = drawn(seed)
        size, position = (np.array([getattr(o, key) for o in objects]) for key in ("size", "position"))
        np.testing.assert_array_equal(position[:, 2], (np.float32(size[:, 2]) / 2))
        assert (np.abs(position[:, :2]) <= 7.5).all()
        reach = np.hypot(size[:, 0], size[:, 1]) / 2
        distance = np.linalg.norm(position[:, None, :2] - position[None, :, :2], axis=2)
        room = reach[:, None] + reach[None] + 0.25
        assert (distance >= room - 1e-5)[~np.eye(len(objects), dtype=bool)].all()


@pytest.mark.parametrize("variant", ["native", "released"])
def test_clouds_fill_the_boxes_of_a_scene_that_depends_on_its_number_alone(variant):
    source = from_dict(
        ReleasedSource,
        {
            "scenes": {"num_scenes": 6, "num_points": 9000, "num_objects": 5},
            "fractals": {"variant": variant, "num_categories": 3, "num_instances": 3, "num_points": 2000}
            | {"search": {"variance_threshold": 0.05}},
        },
    )
    opened = open_scenes(source)
    scene = opened.scenes[4]
    assert len(scene.points) == 9000
    assert len(opened.scenes) == 6
    assert opened.classes == ("000000", "000001", "000002")
    assert len(scene.boxes) >= 5
    assert set(scene.categories.tolist()) <= {0, 1, 2}
    for k, box in enumerate(scene.boxes):
        assert points_in_boxes(scene.points[scene.instance_ids == k], box[None], margin=1e-5).all()
    again = pickle.loads(pickle.dumps(open_scenes(source).scenes))[4]
    np.testing.assert_array_equal(again.points, scene.points)
    assert not np.array_equal(opened.scenes[3].boxes, scene.boxes)
