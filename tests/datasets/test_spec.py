import numpy as np
import pytest

from pcfdsl.datasets.spec import SCANNET, SPECS, SUNRGBD, spec_of, split_names


def test_numbers_are_the_published_ones(golden):
    published = golden("votenet_box_coding.npz")
    np.testing.assert_array_equal(SCANNET.source_ids, published["scannet/nyu40ids"])
    np.testing.assert_allclose(SUNRGBD.mean_sizes, published["sunrgbd/mean_size_arr"], rtol=1e-12)
    np.testing.assert_allclose(SCANNET.mean_sizes, published["scannet/mean_size_arr"], rtol=1e-12)
    for spec in SPECS:
        assert len(spec.classes) == len(set(spec.classes)) == len(spec.mean_sizes)
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
    with pytest.raises(ValueError, match="no list of the train scenes of SUN RGB-D"):
        split_names(SUNRGBD, "train")


def test_categories_of_nyu40_numbers():
    every = np.arange(-3, 60)
    categories = SCANNET.category_of(every)
    expected = [SCANNET.source_ids.index(i) if i in SCANNET.source_ids else -1 for i in every.tolist()]
    np.testing.assert_array_equal(categories, expected)
