import numpy as np
import pytest

from pcfdsl.data.augment import AugmentConfig
from pcfdsl.data.detection import DetectionDataset
from pcfdsl.data.official import published_draws
from pcfdsl.data.spec import SCANNET, SUNRGBD
from pcfdsl.scene.boxes import Scene


@pytest.fixture
def scannet_scene(golden) -> Scene:
    """The scan of the golden arrays as the published preparation leaves it."""
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
def test_scannet_samples_are_the_published_ones_number_for_number(golden, scannet_scene, key):
    measured = {
        name.rpartition("/")[2]: array
        for name, array in golden("votenet_scannet_labels.npz").items()
        if name.startswith(f"item/{key}/")
    }
    augment = None if key.startswith("noaug") else SCANNET.augment
    data = DetectionDataset([scannet_scene], num_points=1500, augment=augment, votes=SCANNET.votes, draws="scannet")
    random = np.random.RandomState(int(key[-1]))
    draws = published_draws("scannet", random, len(scannet_scene.points), 1500, config=augment)
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
def test_sunrgbd_draws_are_the_published_ones(golden, seed):
    measured = golden("votenet_sunrgbd_labels.npz")
    draws = published_draws("sunrgbd", np.random.RandomState(seed), 2500, 2000, config=SUNRGBD.augment)
    np.testing.assert_array_equal(draws.rows, measured[f"item/aug_seed{seed}/choices"])
    transform = draws.transform
    drawn = [transform.flip_x, transform.angle, transform.scale]
    np.testing.assert_allclose(drawn, measured[f"item/aug_seed{seed}/aug_flipx_angle_scale"], atol=1e-15)
    assert not transform.flip_y


def test_a_data_set_draws_by_seed_epoch_and_index(scannet_scene):
    for draws in ("scannet", "sunrgbd"):
        augment = {"scannet": SCANNET, "sunrgbd": SUNRGBD}[draws].augment
        data = DetectionDataset([scannet_scene] * 2, num_points=300, augment=augment, draws=draws)
        np.testing.assert_array_equal(data[1, 0].points, data[1, 0].points)
        first = [data[0, 0].points, data[0, 1].points, data[1, 0].points]
        assert len({points.tobytes() for points in first}) == 3
    # with repetition as soon as there are too few
    few = DetectionDataset([scannet_scene], num_points=3000, draws="scannet")[0]
    assert len(np.unique(few.points, axis=0)) < 2000 < len(scannet_scene.points)


def test_what_the_published_loaders_do_not_know_is_refused(scannet_scene):
    for draws, augment, found in (
        ("scannet", AugmentConfig(scale=(0.9, 1.1), jitter=0.1), "jitter, scale"),
        ("sunrgbd", AugmentConfig(flip_y=0.5, hull=True), "flip_y, hull"),
    ):
        with pytest.raises(ValueError, match=f"loader of {draws} has no {found}"):
            DetectionDataset([scannet_scene], num_points=10, augment=augment, draws=draws)
    with pytest.raises(ValueError, match="expected one of native, scannet, sunrgbd"):
        DetectionDataset([scannet_scene], num_points=10, draws="official")
