import json
import re

import numpy as np
import pytest

from pcfdsl.rng import stream
from pcfdsl.scene.boxes import points_in_boxes
from pcfdsl.scene.released import assemble, draw_scene, read_scene, write_scene

FILES = [(i, f"{i:06d}_0000.ply") for i in range(37)]


def drawn(seed: int, num_objects: int = 15):
    return draw_scene(np.random.RandomState(seed), FILES, num_objects=num_objects)


def test_layouts_equal_those_of_the_published_script_number_by_number(golden):
    measured = golden("pcfractal_scenes.npz")  # rows: size 3, position 3, theta, index of the file
    for name in measured.files:
        seed, num_objects = map(int, re.findall(r"\d+", name))
        ours = [[*o.size, *o.position, o.theta, o.category] for o in drawn(seed, num_objects)]
        np.testing.assert_array_equal(ours, measured[name])


def test_numbers_of_objects_and_sizes_are_as_measured_on_the_published_script():
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


def test_files_are_written_and_read_as_published(tmp_path):
    objects = drawn(3)
    write_scene(tmp_path / "scene_00000.json", objects)
    assert read_scene(tmp_path / "scene_00000.json") == objects
    entry = json.loads((tmp_path / "scene_00000.json").read_text())[0]
    assert sorted(entry) == ["c_pos", "class_name", "file_name", "size", "theta"]
    assert entry["class_name"] == entry["file_name"][:6]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "is not JSON.*truncated"),
        ("{}", "holds a dict; expected a list"),
        ('[{"size": [1, 1, 1]}]', "object 0: KeyError 'c_pos'"),
        (
            '[{"size": [1, 1], "c_pos": [0, 0, 0], "theta": 0, "class_name": "1", "file_name": "a"}]',
            "object 0: ValueError",
        ),
        (
            '[{"size": [1, 0, 1], "c_pos": [0, 0, 0], "theta": 0, "class_name": "1", "file_name": "a"}]',
            "must be positive",
        ),
        ('[{"size": [1, 1, 1], "c_pos": [0, NaN, 0], "theta": 0, "class_name": "1", "file_name": "a"}]', "finite"),
    ],
)
def test_broken_files_are_named(tmp_path, content, message):
    path = tmp_path / "scene.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_scene(path)
    assert str(path) in str(caught.value)


def test_clouds_fill_their_boxes_when_fitted_and_twice_that_when_scaled():
    objects = drawn(0)

    def cloud(category, file_name):
        return stream(0, category, file_name).uniform(-1, 1, (2000, 3))

    tight = assemble(objects, cloud)
    for k, box in enumerate(tight.boxes):
        points = tight.points[tight.instance_ids == k]
        assert points_in_boxes(points, box[None], margin=1e-5).all()
        np.testing.assert_allclose(points.mean(axis=0), box[:3], atol=0.1)
    scaled = assemble(objects, cloud, fit="scaled")
    assert points_in_boxes(scaled.points, scaled.boxes).any(axis=0).mean() == pytest.approx(1 / 8, abs=0.03)
    assert len(assemble(objects, cloud, num_points=5000).points) == 5000
    with pytest.raises(ValueError, match="'tight' or 'scaled'"):
        assemble(objects, cloud, fit="loose")
    with pytest.raises(ValueError, match="no instances"):
        draw_scene(np.random.RandomState(0), [])
