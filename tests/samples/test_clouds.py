import pickle
from dataclasses import replace

import numpy as np
import pytest

from pcfdsl.config import ConfigError
from pcfdsl.datasets.clouds import CloudSet, read_cloud_npz
from pcfdsl.rng import stream
from pcfdsl.samples.clouds import CloudAugmentConfig, CloudDataset, CloudPointsConfig, collate_clouds


@pytest.fixture(scope="module")
def clouds(tmp_path_factory) -> CloudSet:
    path = tmp_path_factory.mktemp("clouds") / "set.npz"
    points = stream(0).normal(size=(6, 300, 3)) * [0.3, 0.6, 1.2] + [5, -3, 1]
    np.savez(path, points=points.astype(np.float32), label=np.array([0, 1, 2, 0, 1, 2]))
    return read_cloud_npz(path)


def dataset(clouds, *, seed=0, augment: CloudAugmentConfig | None = None, **points) -> CloudDataset:
    config = CloudPointsConfig(**{"num_points": 200, **points})
    return CloudDataset(clouds, np.array([4, 1, 2]), points=config, augment=augment, seed=seed)


def test_a_sample_depends_only_on_seed_epoch_and_index(clouds):
    one = dataset(clouds, augment=CloudAugmentConfig(any_orientation=True, stretch=0.2))
    two = pickle.loads(pickle.dumps(one))
    forwards = {key: one[key][0] for key in [(0, 0), (0, 1), (1, 0)]}
    for key in reversed(forwards):
        np.testing.assert_array_equal(two[key][0], forwards[key])
    assert not np.array_equal(forwards[0, 0], forwards[1, 0])
    assert not np.array_equal(forwards[0, 0], dataset(clouds, seed=1, augment=one.augment)[0, 0][0])
    np.testing.assert_array_equal(one[1][0], one[0, 1][0])
    assert [one[i][1] for i in range(3)] == [1, 1, 2]
    with pytest.raises(IndexError):
        one[3]


def test_spheres_have_the_radius_and_metres_are_kept(clouds):
    points = dataset(clouds, radius=0.7)[0][0]
    np.testing.assert_allclose(points[:, :3].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(points[:, :3], axis=1).max(), 0.7, rtol=1e-5)
    metres = dataset(clouds, size="metres", num_points=300)[0][0]
    np.testing.assert_allclose(np.ptp(metres[:, :3], axis=0), np.ptp(clouds.source.points[4], axis=0), rtol=1e-5)
    np.testing.assert_allclose(metres[:, :3].min(0), -metres[:, :3].max(0), atol=1e-5)


def test_height_is_measured_from_the_lowest_points(clouds):
    points = dataset(clouds)[0][0]
    assert points.shape == (200, 4)
    np.testing.assert_allclose(points[:, 3] - points[:, 2], points[0, 3] - points[0, 2], atol=1e-5)
    assert -0.1 < points[:, 3].min() <= 0.01
    assert dataset(clouds, use_height=False)[0][0].shape == (200, 3)


STILL = CloudAugmentConfig(flip_x=0, flip_y=0, rotation=0, scale=(1, 1), dropout=0, jitter=0)


def distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_each_augmentation_has_its_effect(clouds):
    def sample(config):
        return dataset(clouds, augment=config, use_height=False)[0][0]

    plain = dataset(clouds, use_height=False)[0][0]
    np.testing.assert_allclose(sample(STILL), plain, atol=1e-6)
    turned = sample(replace(STILL, rotation=180))
    np.testing.assert_allclose(turned[:, 2], plain[:, 2], atol=1e-6)
    np.testing.assert_allclose(distances(turned), distances(plain), atol=1e-4)
    assert not np.allclose(turned, plain, atol=0.1)
    tumbled = sample(replace(STILL, any_orientation=True))
    np.testing.assert_allclose(distances(tumbled), distances(plain), atol=1e-4)
    assert not np.allclose(tumbled[:, 2], plain[:, 2], atol=0.1)
    factors = sample(replace(STILL, stretch=0.3)) / plain
    np.testing.assert_allclose(factors, np.broadcast_to(factors[0], factors.shape), rtol=1e-3)
    assert 0.7 <= factors[0].min() < factors[0].max() - 0.01 <= 1.29
    assert len(np.unique(sample(replace(STILL, dropout=0.9)), axis=0)) < 200
    assert 0 < np.abs(sample(replace(STILL, jitter=0.01)) - plain).max() < 0.1


def test_orientations_are_uniform_rotations():
    from pcfdsl.samples.clouds import _random_rotation

    rotations = np.stack([_random_rotation(stream(0, i)) for i in range(2000)])
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), (2000, 3, 3)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    np.testing.assert_allclose(rotations.mean(0), 0, atol=0.06)  # 0.013 is the standard error
    np.testing.assert_allclose((rotations**2).mean(0), 1 / 3, atol=0.04)


def test_batches_hold_their_samples(clouds):
    batch = collate_clouds([dataset(clouds)[i] for i in (2, 0)])
    assert batch.points.shape == (2, 200, 4)
    assert batch.labels.tolist() == [2, 1]
    assert batch.cloud_idx.tolist() == [2, 0]


def test_a_hull_is_refused():
    with pytest.raises(ConfigError, match="hull: is true, but clouds of single shapes have no boxes"):
        CloudAugmentConfig(hull=True)
