from dataclasses import replace

import numpy as np
import pytest

from pcfdsl.datasets.augment import AugmentConfig
from pcfdsl.datasets.spec import SCANNET, SUNRGBD
from pcfdsl.samples.detection import DetectionDataset
from pcfdsl.samples.released import released_draws
from pcfdsl.scene.boxes import Scene


@pytest.fixture
def scannet_scene(golden) -> Scene:
    """The scan of the golden arrays as VoteNet's preparation writes it."""
    measured = golden("votenet_scannet_labels.npz")
    boxes, semantic, instance = (
        measured["item/bbox_kept"],
        measured["export/out_semantic"],
        measured["export/out_instance"],
    )
    kept = [int(measured["export/out_object_label"][row, 0]) for row in range(7)]
    kept = [i for i in kept if SCANNET.category_of(semantic[instance == i][:1])[0] >= 0]
    ids = np.full(len(instance), -1)
    for row, i in enumerate(kept):
        ids[instance == i] = row
    return Scene(
        points=measured["export/out_vertices"][:, :3],
        boxes=np.c_[boxes[:, :6], np.zeros(len(boxes))],
        categories=SCANNET.category_of(boxes[:, 6]),
        instance_ids=ids,
    )


@pytest.mark.parametrize("key", ["noaug_seed1", "aug_seed2", "aug_seed3", "aug_seed4"])
def test_scannet_samples_equal_those_of_votenets_loader(golden, scannet_scene, key):
    measured = {
        name.rpartition("/")[2]: array
        for name, array in golden("votenet_scannet_labels.npz").items()
        if name.startswith(f"item/{key}/")
    }
    augment = None if key.startswith("noaug") else SCANNET.augment
    data = DetectionDataset([scannet_scene], num_points=1500, augment=augment, votes=SCANNET.votes, draws="scannet")
    random = np.random.RandomState(int(key[-1]))
    draws = released_draws("scannet", random, len(scannet_scene.points), 1500, config=augment)
    sample = data.sample(scannet_scene, draws, scene_idx=0)
    np.testing.assert_array_equal(draws.rows, measured["choices"])
    np.testing.assert_array_equal(sample.points, measured["point_clouds"])
    np.testing.assert_array_equal(sample.vote_mask, measured["vote_label_mask"])
    np.testing.assert_array_equal(sample.vote_offsets.reshape(-1, 9), measured["vote_label"])
    k = int(measured["box_label_mask"].sum())
    np.testing.assert_array_equal(sample.boxes[:, :3], measured["center_label"][:k])
    np.testing.assert_array_equal(sample.classes, measured["sem_cls_label"][:k])
    residuals = sample.boxes[:, 3:6] - np.array(SCANNET.mean_sizes)[sample.classes]
    np.testing.assert_allclose(residuals, measured["size_residual_label"][:k], atol=1e-7)  # ours are sizes, rounded
    assert not sample.boxes[:, 6].any()
    if augment is not None:
        drawn = [draws.transform.flip_x, draws.transform.flip_y, draws.transform.angle]
        np.testing.assert_allclose(drawn, measured["aug_flipx_flipy_angle"], atol=1e-15)


@pytest.mark.parametrize("seed", [2, 3])
def test_sunrgbd_draws_equal_those_of_votenets_loader(golden, seed):
    measured = golden("votenet_sunrgbd_labels.npz")
    draws = released_draws("sunrgbd", np.random.RandomState(seed), 2500, 2000, config=SUNRGBD.augment)
    np.testing.assert_array_equal(draws.rows, measured[f"item/aug_seed{seed}/choices"])
    transform = draws.transform
    drawn = [transform.flip_x, transform.angle, transform.scale]
    np.testing.assert_allclose(drawn, measured[f"item/aug_seed{seed}/aug_flipx_angle_scale"], atol=1e-15)
    assert not transform.flip_y


def test_draws_depend_on_seed_epoch_and_index(scannet_scene):
    for draws in ("scannet", "sunrgbd"):
        augment = {"scannet": SCANNET, "sunrgbd": SUNRGBD}[draws].augment
        data = DetectionDataset([scannet_scene] * 2, num_points=300, augment=augment, draws=draws)
        np.testing.assert_array_equal(data[1, 0].points, data[1, 0].points)
        first = [data[0, 0].points, data[0, 1].points, data[1, 0].points]
        assert len({points.tobytes() for points in first}) == 3
    # with repetition if there are too few
    few = DetectionDataset([scannet_scene], num_points=3000, draws="scannet")[0]
    assert len(np.unique(few.points, axis=0)) < 2000 < len(scannet_scene.points)


def test_augmentation_that_votenets_loaders_lack_is_refused(scannet_scene):
    for draws, augment, found in (
        ("scannet", AugmentConfig(scale=(0.9, 1.1), jitter=0.1, color=True), "jitter, scale, color"),
        ("sunrgbd", AugmentConfig(flip_y=0.5, hull=True), "flip_y, hull"),
    ):
        with pytest.raises(ValueError, match=f"loader of {draws} has no {found}"):
            DetectionDataset([scannet_scene], num_points=10, augment=augment, draws=draws)
    with pytest.raises(ValueError, match="expected one of native, scannet, sunrgbd"):
        DetectionDataset([scannet_scene], num_points=10, draws="official")


def test_sunrgbd_colours_are_drawn_between_the_angle_and_the_scale():
    """A restatement of VoteNet's loader, draw by draw, since the golden arrays have no colours."""
    scene_random = np.random.default_rng(0)
    colors = scene_random.random((50, 3)).astype(np.float32)
    scene = Scene(
        points=scene_random.normal(size=(50, 3)),
        boxes=np.zeros((0, 7)),
        categories=np.zeros(0),
        instance_ids=np.full(50, -1),
        colors=colors,
    )
    augment = replace(SUNRGBD.augment, color=True)
    data = DetectionDataset([scene], num_points=40, use_color=True, augment=augment, draws="sunrgbd")
    draws = released_draws("sunrgbd", np.random.RandomState(5), 50, 40, config=augment)
    sample = data.sample(scene, draws, scene_idx=0)

    random = np.random.RandomState(5)
    flip, angle = random.random_sample() > 0.5, random.random_sample() * np.pi / 3 - np.pi / 6
    expected = colors * (1 + 0.4 * random.random_sample(3) - 0.2)
    expected += 0.1 * random.random_sample(3) - 0.05
    expected += (0.05 * random.random_sample(50) - 0.025)[:, None]
    expected = np.clip(expected, 0, 1) * (random.random_sample(50) > 0.3)[:, None]
    scale = random.random_sample() * 0.3 + 0.85
    rows = random.choice(50, 40, replace=False)
    drawn = (draws.transform.flip_x, draws.transform.angle, draws.transform.scale)
    np.testing.assert_allclose(drawn, (flip, angle, scale), atol=1e-15)
    np.testing.assert_array_equal(draws.rows, rows)
    np.testing.assert_allclose(sample.points[:, 3:6], expected[rows] - 0.5, atol=1e-6)
    assert 5 < (sample.points[:, 3:6] == -0.5).all(axis=1).sum() < 20

    native = DetectionDataset([scene], num_points=40, use_color=True, augment=augment)
    plain = DetectionDataset([scene], num_points=40, use_color=True, augment=SUNRGBD.augment)
    np.testing.assert_array_equal(native[0].points[:, :3], plain[0].points[:, :3])
    assert not np.array_equal(native[0].points[:, 3:6], plain[0].points[:, 3:6])
    assert np.array_equal(native[1, 0].points, native[1, 0].points)
