import numpy as np
import pytest
import torch

from pcfdsl.datasets.pictures import ArrayPictures
from pcfdsl.samples.images import ImageViewConfig
from pcfdsl.samples.picture_views import PictureViews, Tiles, ViewsConfig, far_permutations

PLAIN = ViewsConfig(min_scale=1.0, hflip=0.0, recolor=0.0, grey=0.0, blur=0.0)
PICTURES = ArrayPictures(np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), np.uint8), np.zeros(5, np.int64))


@pytest.mark.parametrize("channels", [1, 3])
def test_views_depend_on_seed_epoch_and_index_alone_and_differ_from_each_other(channels):
    def views(key, *, seed=1):
        np.random.default_rng().normal()
        torch.rand(3)  # what else draws does not matter
        view = ImageViewConfig(size=24, channels=channels)
        return PictureViews(PICTURES, view=view, augment=ViewsConfig(), num_views=2, seed=seed)[key][0]

    first = views((2, 3))
    assert first.shape == (2, channels, 24, 24)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, views((2, 3)))
    assert not torch.equal(first, views((3, 3)))
    assert not torch.equal(first, views((2, 4)))
    assert not torch.equal(first, views((2, 3), seed=2))
    state = torch.get_rng_state()
    views((2, 3))
    torch.rand(3)
    assert not torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("num", "distance"), [(9, 9), (100, 6), (1000, 5)])
def test_permutations_are_as_far_apart_as_is_said(num, distance):
    orders = far_permutations(num)
    assert (np.sort(orders, 1) == np.arange(9)).all()
    apart = (orders[:, None] != orders[None]).sum(-1)
    assert apart[~np.eye(num, dtype=bool)].min() == distance
    assert np.array_equal(orders[:5], far_permutations(5))


def test_tiles_come_in_the_order_of_their_label_without_brightness_of_their_own():
    ramp = np.zeros((1, 96, 96, 3), np.uint8)
    for k in range(9):  # a tile is told by the direction and number of its stripes
        y, x = k // 3 * 32, k % 3 * 32
        ramp[0, y : y + 32, x : x + 32] = (np.arange(32) % (k + 2) == 0)[:, None, None] * (100 + 10 * k)
    pictures = ArrayPictures(ramp, np.zeros(1, np.int64))
    orders = far_permutations(4)
    tiles = Tiles(pictures, permutations=orders, view=ImageViewConfig(size=27), augment=PLAIN, seed=0)
    stripes = {}
    for epoch in range(12):
        seen, label = tiles[epoch, 0]
        assert seen.shape == (9, 3, 27, 27)
        torch.testing.assert_close(seen.mean((1, 2, 3)), torch.zeros(9), atol=1e-4, rtol=0)
        lit = (seen[:, 0, :, 13] > 0.2).float().mean(1)
        back = torch.empty(9).scatter_(0, torch.from_numpy(orders[label]), lit)
        stripes.setdefault(label, back)
        assert back[0] > back[3] > back[8]  # in the places of the picture, stripes thin out
    assert len(stripes) > 2
