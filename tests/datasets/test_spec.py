import numpy as np
import pytest

from pcfdsl.datasets.spec import S3DIS, SCANNET, SCANNET200, SPECS, SUNRGBD, SUNRGBD37, spec_of, split_names


def test_numbers_are_the_published_ones(golden):
    published = golden("votenet_box_coding.npz")
    np.testing.assert_array_equal(SCANNET.source_ids, published["scannet/nyu40ids"])
    np.testing.assert_allclose(SUNRGBD.mean_sizes, published["sunrgbd/mean_size_arr"], rtol=1e-12)
    np.testing.assert_allclose(SCANNET.mean_sizes, published["scannet/mean_size_arr"], rtol=1e-12)
    for spec in SPECS:
        assert len(spec.classes) == len(set(spec.classes))
        assert len(spec.mean_sizes) in (0, len(spec.classes))
        assert len(spec.source_ids) in (0, len(spec.classes))
        assert list(spec.source_ids) == sorted(set(spec.source_ids))
        assert spec_of(spec.classes) is spec
    assert spec_of(("chair",)) is None


def test_official_splits_are_complete_and_disjoint():
    splits = {split: split_names(SCANNET, split) for split in SCANNET.split_sizes}
    assert {split: len(names) for split, names in splits.items()} == SCANNET.split_sizes
    every = [name for names in splits.values() for name in names]
    assert len(set(every)) == len(every) == 1513
    assert all(len(name) == 12 and name.startswith("scene") for name in every)
    # no room is in both splits
    rooms = [{name[:9] for name in names} for names in splits.values()]
    assert not rooms[0] & rooms[1]
    rooms = {split: split_names(S3DIS, split) for split in S3DIS.split_sizes}
    assert {split: len(names) for split, names in rooms.items()} == S3DIS.split_sizes
    assert len(set(rooms["train"]) | set(rooms["val"])) == 272
    for split, names in rooms.items():
        assert {name[:6] for name in names} == set(S3DIS.parts[split])
    with pytest.raises(ValueError, match="no list of the train scenes of SUN RGB-D"):
        split_names(SUNRGBD, "train")


def test_wider_class_lists_share_the_scans():
    for wide, narrow in ((SCANNET200, SCANNET), (SUNRGBD37, SUNRGBD)):
        assert (wide.split_sizes, wide.num_heading_bins) == (narrow.split_sizes, narrow.num_heading_bins)
    assert split_names(SCANNET200, "val") == split_names(SCANNET, "val")
    assert len(SCANNET200.classes) == 198
    assert not {"wall", "floor"} & set(SCANNET200.classes)
    members = [name for names in SCANNET200.groups.values() for name in names]
    assert {key: len(names) for key, names in SCANNET200.groups.items()} == {"head": 64, "common": 68, "tail": 66}
    assert sorted(members) == sorted(SCANNET200.classes)
    assert len(SUNRGBD37.classes) == 37
    assert set(SUNRGBD.classes) <= set(SUNRGBD37.classes)


def test_categories_of_nyu40_numbers():
    every = np.arange(-3, 60)
    categories = SCANNET.category_of(every)
    expected = [SCANNET.source_ids.index(i) if i in SCANNET.source_ids else -1 for i in every.tolist()]
    np.testing.assert_array_equal(categories, expected)
