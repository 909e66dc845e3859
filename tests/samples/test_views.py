"""Two views of a scene share a frame; two rooms share their objects."""

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest

from pcfdsl.datasets.augment import AugmentConfig
from pcfdsl.rng import stream
from pcfdsl.samples.views import TwoLayouts, TwoViews, ViewConfig, collate_pairs
from pcfdsl.scene.boxes import height_above_floor
from pcfdsl.scene.config import CameraConfig, RoomConfig, SceneConfig, SizeConfig
from pcfdsl.scene.layout import LayoutConfig
from pcfdsl.scene.primitives import PrimitiveFurniture
from pcfdsl.scene.synthesize import Scenes

SOURCE = PrimitiveFurniture("train")
ROOMS = SceneConfig(num_scenes=4, num_points=3000, objects=(4, 6), sizes=SizeConfig(shape="metres"))
MOVED = AugmentConfig(flip_x=0.5, flip_y=0.5, rotation=180.0, scale=(0.8, 1.2))
STILL = AugmentConfig(flip_x=0, flip_y=0, rotation=0)


def views(**changes) -> TwoViews:
    return TwoViews(Scenes(ROOMS, SOURCE), **{"num_points": 800, "augment": MOVED, **changes})


def equal(a, b) -> bool:
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))


def test_views_give_points_of_the_scene_with_positions_and_objects():
    data = views()
    for i in range(3):
        scene, pair = data.scenes[i], data[0, i]
        known = {point.tobytes(): (ids, height) for point, ids, height in zip(
            scene.points, scene.instance_ids, height_above_floor(scene.points), strict=True
        )}  # fmt: skip
        for view in range(2):
            found = [known[point.tobytes()] for point in pair.positions[view]]
            assert pair.object_ids[view].tolist() == [ids for ids, _ in found]
            scale = np.linalg.norm(pair.points[view][1, :3]) / np.linalg.norm(pair.positions[view][1])
            np.testing.assert_allclose(pair.points[view][:, 3], scale * np.array([h for _, h in found]), atol=1e-5)


def test_a_view_is_a_similarity_transform_of_the_scene():
    pair = views()[2, 1]
    for points, positions in zip(pair.points[..., :3].astype(float), pair.positions.astype(float), strict=True):
        motion, *_ = np.linalg.lstsq(positions, points, rcond=None)
        np.testing.assert_allclose(positions @ motion, points, atol=1e-4)
        gram = motion.T @ motion
        np.testing.assert_allclose(gram, gram[0, 0] * np.eye(3), atol=1e-5)
        assert 0.64 <= gram[0, 0] <= 1.44
        np.testing.assert_allclose(motion[2, :2], 0, atol=1e-5)


def test_views_differ_and_overlap():
    data = views()
    for i in range(4):
        pair = data[0, i]
        first, second = ({point.tobytes() for point in positions} for positions in pair.positions)
        assert 0 < len(first & second) < 0.7 * len(first)


def test_a_camera_hides_points_and_without_one_all_are_seen():
    open_view = views(num_points=20_000, view=ViewConfig(camera=False))[0, 0]
    assert [len(np.unique(positions, axis=0)) for positions in open_view.positions] == [3000, 3000]
    behind = views(num_points=20_000)[0, 0]
    assert all(600 <= len(np.unique(positions, axis=0)) < 2900 for positions in behind.positions)


@pytest.mark.parametrize("kind", ["views", "layouts"])
def test_a_pair_depends_only_on_seed_epoch_and_index(kind):
    data = views() if kind == "views" else TwoLayouts(ROOMS, SOURCE, num_points=800, augment=MOVED)
    again = pickle.loads(pickle.dumps(data))
    again[0, 2]
    assert equal(data[1, 3], again[1, 3])
    assert not equal(data[0, 3], data[1, 3])
    assert not equal(data[1, 2], data[1, 3])


def test_rooms_share_the_shapes_of_their_objects():
    settings = replace(
        ROOMS, noise=0.0, cameras=CameraConfig(number=(0, 0)), room=RoomConfig(share=0.2, clutter=(0, 0)),
        layout=LayoutConfig(stacking=0.0),
    )  # fmt: skip
    data = TwoLayouts(settings, SOURCE, num_points=3000, augment=STILL)
    for i in range(3):
        pair = data[0, i]
        shared = set(pair.object_ids[0]) & set(pair.object_ids[1]) - {-1}
        assert len(shared) >= 3
        for k in shared:
            a, b = (pair.points[view][pair.object_ids[view] == k, :3].astype(float) for view in range(2))
            assert np.ptp(a[:, 2]) == pytest.approx(np.ptp(b[:, 2]), rel=1e-3)  # rotated only about z
            assert _reach(a) == pytest.approx(_reach(b), rel=0.1)
            assert np.linalg.norm(a.mean(0) - b.mean(0)) > 0.05  # but elsewhere


def test_objects_of_a_pair_are_the_same_in_every_epoch_but_not_their_places():
    data = TwoLayouts(replace(ROOMS, cameras=CameraConfig(number=(0, 0))), SOURCE, num_points=2000, augment=STILL)
    now, later = data[0, 1], data[7, 1]
    for k in set(now.object_ids[0]) & set(later.object_ids[0]) - {-1}:
        a, b = (pair.points[0][pair.object_ids[0] == k, :3].astype(float) for pair in (now, later))
        assert _reach(a) == pytest.approx(_reach(b), rel=0.15)
    assert not np.array_equal(now.points, later.points)


def test_sizes_are_drawn_as_for_scenes():
    settings = SceneConfig(num_points=3000, objects=(5, 5), cameras=CameraConfig(number=(0, 0)), noise=0.0)
    pair = TwoLayouts(settings, SOURCE, num_points=3000, augment=STILL)[0, 0]
    heights = [np.ptp(pair.points[0][pair.object_ids[0] == k, 2]) for k in set(pair.object_ids[0]) - {-1}]
    assert min(heights) >= settings.sizes.low[2] - 1e-3
    assert max(heights) <= settings.sizes.high[2] + 1e-3


def test_pairs_are_collated_by_view():
    data = views()
    pairs = [data[0, i] for i in range(3)]
    batch = collate_pairs(pairs).to("cpu")
    assert batch.points.shape == (2, 3, 800, 4)
    assert batch.object_ids.shape == (2, 3, 800)
    np.testing.assert_array_equal(batch.positions[1, 2].numpy(), pairs[2].positions[1])


def test_missing_points_and_colours_are_named():
    with pytest.raises(ValueError, match="scene 0 has no colours"):
        views(use_color=True)[0, 0]
    rng = stream(0, "colours")
    colored = [replace(scene, colors=rng.random((3000, 3))) for scene in Scenes(ROOMS, SOURCE)]
    pair = TwoViews(colored, num_points=50, use_color=True, use_height=False, augment=MOVED)[0, 0]
    assert pair.points.shape == (2, 50, 6)
    assert np.abs(pair.points[..., 3:]).max() <= 0.5


def _reach(points: np.ndarray) -> float:
    """Greatest distance from the vertical axis through the mean, which rotation about z keeps."""
    return float(np.linalg.norm(points[:, :2] - points[:, :2].mean(0), axis=1).max())
