import numpy as np
import pytest

from pcfdsl.rng import stream
from pcfdsl.scene.primitives import CLASSES, Part, PrimitiveFurniture, Proportions, sample_parts


@pytest.mark.parametrize("name", CLASSES)
def test_furniture_stands_on_the_floor_and_has_the_size_of_furniture(name):
    for seed in range(30):
        parts = CLASSES[name](Proportions(stream(seed), "train"))
        points, _ = sample_parts(stream(seed), parts, num_points=4000)
        low, high = points.min(axis=0), points.max(axis=0)
        assert low[2] == pytest.approx(0, abs=0.06)
        assert low[2] >= -1e-6
        assert ((high - low) > 0.2).all()
        assert ((high - low) < 2.6).all()
        np.testing.assert_allclose((low + high)[:2] / 2, 0, atol=0.08)


def test_splits_share_no_proportion():
    values = {split: np.array([Proportions(stream(s), split)(0, 5) for s in range(400)]) for split in ("train", "val")}
    assert set(np.floor(values["train"])) == {0, 2, 4}
    assert set(np.floor(values["val"])) == {1, 3}


@pytest.mark.parametrize(
    ("part", "area"),
    [
        (Part(kind="block", center=(0, 0, 0), size=(1, 2, 3)), 22),
        (Part(kind="cylinder", center=(0, 0, 0), size=(2, 2, 3)), 8 * np.pi),
        (Part(kind="ellipsoid", center=(0, 0, 0), size=(2, 2, 2)), 4 * np.pi),
    ],
)
def test_points_cover_a_part_by_area(part, area):
    assert part.area == pytest.approx(area)
    points, _ = sample_parts(stream(0), [part], num_points=20_000)
    np.testing.assert_allclose(points.max(axis=0), np.array(part.size) / 2, atol=0.02)
    top = np.mean(points[:, 2] > part.size[2] / 2 - 1e-6)
    expected = {"block": 2 / 22, "cylinder": 1 / 8, "ellipsoid": 0}[part.kind]
    assert top == pytest.approx(expected, abs=0.01)


def test_the_source_gives_every_class_and_only_those_asked_for():
    source = PrimitiveFurniture("val", classes=("bed", "lamp"))
    found = {source.sample(stream(seed), 10)[1] for seed in range(20)}
    assert found == {0, 1}
    assert source.num_categories == 2
    assert PrimitiveFurniture().num_categories == 10
    with pytest.raises(ValueError, match="unknown furniture throne"):
        PrimitiveFurniture(classes=("bed", "throne"))
    with pytest.raises(ValueError, match="unknown split 'test'"):
        PrimitiveFurniture("test")
