import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.models.box_coding import decode_size, decode_yaw, encode_size, encode_yaw


@pytest.fixture(scope="module")
def coding(golden):
    return golden("votenet_box_coding.npz")


def test_yaw_is_coded_as_published(coding):
    yaw = -torch.from_numpy(coding["sunrgbd/angle"])
    bins, residuals = encode_yaw(yaw, 12)
    # One measured angle lies on the last border, where rounding gave the published code a bin 12 that does not exist.
    exists = coding["sunrgbd/heading_class"] < 12
    assert exists.sum() == len(exists) - 1
    assert (bins < 12).all()
    np.testing.assert_array_equal(bins[exists], coding["sunrgbd/heading_class"][exists])
    np.testing.assert_allclose(residuals[exists], coding["sunrgbd/heading_residual"][exists], atol=1e-12)
    back = -decode_yaw(bins, residuals, 12)
    np.testing.assert_allclose(back, coding["sunrgbd/decoded_angle_label_format"], atol=1e-12)


def test_size_is_coded_as_published(coding):
    means = torch.from_numpy(coding["sunrgbd/mean_size_arr"])
    sizes, classes = torch.from_numpy(coding["sunrgbd/size"]), torch.from_numpy(coding["sunrgbd/size_class"])
    residuals = encode_size(sizes, classes, means)
    np.testing.assert_allclose(residuals, coding["sunrgbd/size_residual"], atol=1e-12)
    np.testing.assert_allclose(decode_size(residuals, classes, means), coding["sunrgbd/decoded_size"], atol=1e-12)


def test_boxes_are_those_of_the_published_param2obb(coding):
    means = torch.from_numpy(coding["sunrgbd/mean_size_arr"])
    bins, residuals = torch.from_numpy(coding["sunrgbd/p2o_hcls"]), torch.from_numpy(coding["sunrgbd/p2o_hres"])
    classes, size_residuals = torch.from_numpy(coding["sunrgbd/p2o_scls"]), torch.from_numpy(coding["sunrgbd/p2o_sres"])
    yaw, sizes = decode_yaw(bins, residuals, 12), decode_size(size_residuals, classes, means)
    published = coding["sunrgbd/p2o_obb"]
    np.testing.assert_allclose(sizes, published[:, 3:6], atol=1e-12)
    np.testing.assert_allclose(yaw.cos(), np.cos(published[:, 6]), atol=1e-12)
    np.testing.assert_allclose(yaw.sin(), np.sin(published[:, 6]), atol=1e-12)


@given(
    st.lists(st.floats(-20, 20), min_size=1, max_size=20),
    st.integers(2, 24),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_yaw_comes_back_up_to_whole_turns(angles, num_bins, dtype):
    yaw = torch.tensor(angles, dtype=dtype)
    bins, residuals = encode_yaw(yaw, num_bins)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert ((bins >= 0) & (bins < num_bins)).all()
    assert (residuals.abs() <= math.pi / num_bins + tolerance).all()
    turn = decode_yaw(bins, residuals, num_bins) - yaw
    assert torch.allclose(
        torch.remainder(turn + math.pi, 2 * math.pi), torch.tensor(math.pi, dtype=dtype), atol=tolerance
    )


def test_one_bin_means_axis_aligned():
    bins, residuals = encode_yaw(torch.tensor([0.0, 0.3]), 1)
    assert bins.tolist() == [0, 0]
    assert residuals.tolist() == [0, 0]
    assert decode_yaw(bins, torch.tensor([0.5, -0.2]), 1).tolist() == [0, 0]
