"""Contrastive losses equal their formulas written out; correspondences equal a search over all pairs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.models.backbone import PointFeatures
from pcfdsl.models.contrast import correspondences, info_nce, object_means, partitioned_info_nce, partitions


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 10**6), num_a=st.integers(1, 30), num_b=st.integers(1, 30), radius=st.floats(0.05, 2))
def test_correspondences_are_mutual_nearest_neighbours(seed, num_a, num_b, radius):
    a, b = draw(seed, num_a, 3), draw(seed + 1, num_b, 3)
    scene_a, scene_b = (torch.arange(n) * 2 // n for n in (num_a, num_b))
    expected = set()
    distance = torch.cdist(a.double(), b.double())
    distance[scene_a[:, None] != scene_b[None]] = torch.inf
    for i in range(num_a):
        j = int(distance[i].argmin())
        if distance[i, j] < radius and int(distance[:, j].argmin()) == i:
            expected.add((i, j))
    rows, others = correspondences(a, b, first_scene=scene_a, second_scene=scene_b, radius=radius)
    assert set(zip(rows.tolist(), others.tolist(), strict=True)) == expected
    assert len(rows) == len(expected)


def test_info_nce_is_its_formula():
    q, k, temperature = draw(0, 7, 5), draw(1, 7, 5), 0.4
    similarity = [[float(torch.cosine_similarity(a, b, dim=0)) / temperature for b in k] for a in q]
    one_way = -sum(row[i] - math.log(sum(map(math.exp, row))) for i, row in enumerate(similarity)) / 7
    columns = list(zip(*similarity, strict=True))
    other_way = -sum(column[i] - math.log(sum(map(math.exp, column))) for i, column in enumerate(columns)) / 7
    loss, accuracy = info_nce(q, k, temperature=temperature)
    assert loss.item() == pytest.approx(one_way, rel=1e-5)
    assert accuracy.item() == pytest.approx(sum(max(row) == row[i] for i, row in enumerate(similarity)) / 7)
    loss, _ = info_nce(q, k, temperature=temperature, symmetric=True)
    assert loss.item() == pytest.approx((one_way + other_way) / 2, rel=1e-5)


def test_info_nce_does_not_see_scale_and_is_least_where_pairs_agree():
    q = torch.eye(6)
    loss, accuracy = info_nce(q, 5 * q, temperature=0.1)
    assert accuracy == 1
    assert loss.item() == pytest.approx(math.log(1 + 5 * math.exp(-10)), rel=1e-3)
    worse, _ = info_nce(q, q.roll(1, 0), temperature=0.1)
    assert worse > 9


def test_without_pairs_the_loss_is_zero_and_can_be_differentiated():
    q = torch.zeros(0, 4, requires_grad=True)
    loss, accuracy = info_nce(q, q, temperature=0.4)
    loss.backward()
    assert (loss, accuracy) == (0, 0)


@given(seed=st.integers(0, 10**6), num_azimuths=st.integers(1, 4), num_elevations=st.integers(1, 3))
def test_partitions_are_shells_azimuths_and_elevations(seed, num_azimuths, num_elevations):
    positions, shells = draw(seed, 9, 3), (0.3, 1.0)
    found = partitions(positions, shells=shells, num_azimuths=num_azimuths, num_elevations=num_elevations)
    for i in range(9):
        for j in range(9):
            x, y, z = (positions[j] - positions[i]).tolist()
            distance = math.sqrt(x * x + y * y + z * z)
            if i == j or distance < shells[0]:
                assert found[i, j] == -1
                continue
            shell = int(distance >= shells[1])
            azimuth = math.floor((math.atan2(y, x) % (2 * math.pi)) / (2 * math.pi / num_azimuths))
            elevation = math.floor((math.asin(z / distance) + math.pi / 2) / (math.pi / num_elevations))
            assert found[i, j] == (shell * num_azimuths + azimuth) * num_elevations + elevation


def test_partitions_do_not_depend_on_where_the_scene_is():
    positions = draw(3, 20, 3)
    cells = {"shells": (0.5,), "num_azimuths": 2, "num_elevations": 2}
    assert torch.equal(partitions(positions, **cells), partitions(positions + torch.tensor([4.0, 8.0, 2.0]), **cells))


def test_one_partition_of_everything_is_info_nce():
    q, k = draw(0, 11, 6), draw(1, 11, 6)
    partition = partitions(draw(2, 11, 3), shells=(1e-6,), num_azimuths=1, num_elevations=1)
    (loss,) = partitioned_info_nce(q, k, partition, num_partitions=1, temperature=0.4)
    expected, _ = info_nce(q, k, temperature=0.4)
    torch.testing.assert_close(loss, expected)


def test_a_partition_only_pushes_what_lies_in_it():
    q, k = draw(0, 8, 4).requires_grad_(), draw(1, 8, 4).requires_grad_()
    partition = torch.full((8, 8), -1)
    partition[0, 3] = partition[5, 6] = 1
    losses = partitioned_info_nce(q, k, partition, num_partitions=3, temperature=0.4)
    cosine = torch.cosine_similarity(q[:, None], k[None], dim=2) / 0.4
    expected = [(torch.logaddexp(cosine[i, i], cosine[i, j]) - cosine[i, i]).item() for i, j in ((0, 3), (5, 6))]
    assert losses.tolist() == pytest.approx([0, sum(expected) / 2, 0], rel=1e-5)
    losses.sum().backward()
    assert k.grad is not None
    assert k.grad.any(1).nonzero().flatten().tolist() == [0, 3, 5, 6]


def test_means_of_objects():
    features = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8]])
    described = PointFeatures(torch.zeros(4, 3), features, torch.arange(4), torch.zeros(4, dtype=torch.int64))
    means, counts = object_means(described, torch.tensor([2, -1, 0, 2]), 3)
    assert means.tolist() == [[5, 6], [0, 0], [4, 5]]
    assert counts.tolist() == [1, 0, 2]
