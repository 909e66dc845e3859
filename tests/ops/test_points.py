"""Point operators: every backend against the plain twins, on rooms, grids full of ties, duplicates and tiny clouds."""

import sys
import types

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcfdsl.ops import reference
from pcfdsl.ops.backends import choice, pytorch3d
from pcfdsl.ops.grouping import ball_query, gather
from pcfdsl.ops.interpolate import inverse_distance_weights, nearest, three_interpolate, three_nearest
from pcfdsl.ops.sampling import farthest_point_sample


def cloud(kind: str, num_points: int, seed: int, dtype=torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand((2, num_points, 3), generator=generator, dtype=dtype) * 4 - 2
    if kind == "grid":
        return (points * 2).round() / 2  # many equal distances, many duplicates
    if kind == "room":
        points[:, ::3, 2] = 0.0
        points[:, 1::3, 0] = -2.0
    return points


clouds = st.builds(
    cloud,
    st.sampled_from(["uniform", "grid", "room"]),
    st.one_of(st.integers(1, 8), st.integers(9, 700)),
    st.integers(0, 1000),
    st.sampled_from([torch.float32, torch.float64]),
)


@st.composite
def clouds_with_lengths(draw):
    points = draw(clouds)
    lengths = torch.tensor([draw(st.integers(1, points.shape[1])) for _ in points])
    return points, draw(st.sampled_from([None, lengths]))


@given(clouds_with_lengths(), st.integers(1, 200), st.booleans())
def test_sampling_equals_its_twin(case, num_samples, skip):
    points, lengths = case
    expected = reference.farthest_point_sample(points, num_samples, lengths, skip)
    found = farthest_point_sample(points, num_samples, lengths=lengths, skip_near_origin=skip)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@given(clouds_with_lengths(), st.floats(0.05, 3), st.integers(1, 40), st.integers(1, 60))
def test_ball_query_equals_its_twin(case, radius, max_neighbors, num_centers):
    points, lengths = case
    centers = torch.cat([points[:, :num_centers], points[:, :1] + 100, points[:, :1] * 1.5 - 1], 1)
    expected = reference.ball_query(points, centers, radius, max_neighbors, lengths)
    found = ball_query(points, centers, radius, max_neighbors, lengths=lengths)
    torch.testing.assert_close(found.indices, expected[0], rtol=0, atol=0)
    torch.testing.assert_close(found.counts, expected[1], rtol=0, atol=0)


@given(clouds_with_lengths(), clouds)
def test_three_nearest_equals_its_twin(case, queries):
    points, lengths = case
    queries = queries.to(points.dtype)
    expected = reference.three_nearest(queries, points, lengths)
    found = three_nearest(queries, points, lengths=lengths)
    # torch's own square roots are not always those nearest to the truth.
    torch.testing.assert_close(found[0], expected[0], rtol=2 * torch.finfo(points.dtype).eps, atol=0)
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=0)


def test_large_rooms_equal_their_twins():
    points = cloud("room", 6000, 0)
    samples = farthest_point_sample(points, 512)
    torch.testing.assert_close(samples, reference.farthest_point_sample(points, 512))
    centers = gather(points, samples)
    torch.testing.assert_close(
        ball_query(points, centers, 0.3, 32)[0], reference.ball_query(points, centers, 0.3, 32)[0]
    )
    torch.testing.assert_close(three_nearest(points, centers), reference.three_nearest(points, centers))


@given(clouds_with_lengths(), clouds)
def test_nearest_equals_its_twin_and_the_first_of_three(case, queries):
    points, lengths = case
    queries = queries.to(points.dtype)
    distances, indices = nearest(queries, points, lengths=lengths)
    assert torch.equal(indices, reference.nearest(queries, points, 1, lengths)[1].squeeze(2))
    three = three_nearest(queries, points, lengths=lengths)
    assert torch.equal(distances, three[0][..., 0])
    assert torch.equal(indices, three[1][..., 0])


def test_twins_search_in_blocks_that_bound_their_memory(monkeypatch):
    points = cloud("grid", 600, 9)
    lengths = torch.tensor([600, 411])
    centers = points[:, :250] * 0.9
    searches = (
        lambda: reference.ball_query(points, centers, 0.7, 12, lengths),
        lambda: reference.nearest(centers, points, 3, lengths),
    )
    at_once = [search() for search in searches]
    largest, squared_distances = [], reference.squared_distances

    def measured(a, b):
        result = squared_distances(a, b)
        largest.append(result.numel())
        return result

    monkeypatch.setattr(reference, "squared_distances", measured)
    monkeypatch.setattr(reference, "_PAIRS_AT_ONCE", 10_000)
    for search, expected in zip(searches, at_once, strict=True):
        for found, part in zip(search(), expected, strict=True):
            assert torch.equal(found, part)
    assert max(largest) <= 10_000 < points.shape[0] * points.shape[1] * centers.shape[1]


def test_samples_of_samples_are_the_first_samples():
    points = cloud("uniform", 3000, 1)
    samples = farthest_point_sample(points, 400)
    again = farthest_point_sample(gather(points, samples), 150)
    assert (again == torch.arange(150)).all()
    assert all(len(set(row.tolist())) == 400 for row in samples)


def test_more_samples_than_distinct_points_repeat_index_0():
    points = torch.tensor([[[0.0, 0, 1], [0, 0, 2], [0, 0, 1], [0, 0, 2]]])
    assert farthest_point_sample(points, 5).tolist() == [[0, 1, 0, 0, 0]]
    near = torch.tensor([[[0.0, 0, 0.01], [0, 0, 0.02], [0, 0, 3], [0, 0, 2]]])
    assert farthest_point_sample(near, 4, skip_near_origin=True).tolist() == [[0, 2, 3, 2]]
    assert farthest_point_sample(near[:, :2], 3, skip_near_origin=True).tolist() == [[0, 0, 0]]


def test_ball_query_is_strict_keeps_index_order_and_pads_with_the_first():
    points = torch.tensor([[[2.0, 0, 0], [0.9, 0, 0], [1.0, 0, 0], [0.1, 0, 0], [0.5, 0, 0]]])
    found = ball_query(points, torch.zeros(1, 1, 3), 1.0, 5)
    assert found.indices.tolist() == [[[1, 3, 4, 1, 1]]]
    assert found.counts.tolist() == [[3]]
    assert ball_query(points, torch.zeros(1, 1, 3), 1.0, 2).indices.tolist() == [[[1, 3]]]
    nothing = ball_query(points, torch.full((1, 1, 3), 9.0), 1.0, 3)
    assert (nothing.indices.tolist(), nothing.counts.tolist()) == ([[[0, 0, 0]]], [[0]])


@pytest.mark.parametrize("num_points", [1, 2, 3, 10])
def test_interpolation_is_exact_at_the_points_and_constant_for_constants(num_points):
    points = cloud("uniform", num_points, 3)
    values = torch.rand(2, num_points, 5)
    distances, indices = three_nearest(points, points)
    weights = inverse_distance_weights(distances)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, num_points))
    torch.testing.assert_close(three_interpolate(values, indices, weights), values, atol=1e-5, rtol=1e-5)
    assert (indices < num_points).all()


def test_gradients_are_those_of_the_twins_and_of_finite_differences():
    points = cloud("grid", 30, 4, torch.float64)
    _, indices = three_nearest(points + 0.1, points)
    values = torch.rand(2, 30, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2, 30, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: gather(v, indices), values)
    assert torch.autograd.gradcheck(lambda v, w: three_interpolate(v, indices, w), (values, weights))
    ours = torch.autograd.grad(gather(values, indices).square().sum(), values)
    twins = torch.autograd.grad(reference.gather(values, indices).square().sum(), values)
    torch.testing.assert_close(ours, twins)


def test_results_do_not_depend_on_the_number_of_threads():
    points = cloud("room", 5000, 5)
    threads = torch.get_num_threads()
    results = []
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            samples = farthest_point_sample(points, 300)
            found = ball_query(points, points[:, :2500], 0.2, 16)
            results.append([samples, *found, *three_nearest(points, points[:, :600])])
    finally:
        torch.set_num_threads(threads)
    for one, three in zip(*results, strict=True):
        assert torch.equal(one, three)


def network(points: torch.Tensor) -> torch.Tensor:
    centers = gather(points, farthest_point_sample(points, 8))
    grouped = gather(points, ball_query(points, centers, 1.0, 4).indices).amax(2)
    distances, indices = three_nearest(points, centers)
    return three_interpolate(grouped, indices, inverse_distance_weights(distances))


def test_operators_are_registered_well_enough_to_compile_and_export():
    points = cloud("uniform", 50, 6)
    expected = network(points)
    torch.testing.assert_close(torch.compile(network, backend="aot_eager", fullgraph=True)(points), expected)

    class Module(torch.nn.Module):
        def forward(self, points):
            return network(points)

    exported = torch.export.export(Module(), (points,))
    torch.testing.assert_close(exported.module()(points), expected)
    operators = torch.ops.pcfdsl
    torch.library.opcheck(operators.farthest_point_sample.default, (points, 5, None, False))
    torch.library.opcheck(operators.ball_query.default, (points, points, 0.5, 4, None))
    torch.library.opcheck(operators.nearest.default, (points, points, 3, None))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: farthest_point_sample(p[0], 4), r"points must be \[B, N, 3\]"),
        (lambda p: farthest_point_sample(p[:, :0], 4), "N >= 1"),
        (lambda p: farthest_point_sample(p, 0), "num_samples must be at least 1"),
        (lambda p: farthest_point_sample(p.bfloat16(), 4), "under autocast keep xyz in float32"),
        (lambda p: farthest_point_sample(p, 4, lengths=torch.tensor([5, 99])), r"lengths must lie in 1\.\.20"),
        (lambda p: farthest_point_sample(p, 4, lengths=torch.tensor([5])), "lengths must be int64"),
        (lambda p: farthest_point_sample(p.index_fill(1, torch.tensor([7]), torch.nan), 4), "batch item 0, point 7"),
        (lambda p: ball_query(p, p.double(), 1.0, 4), "both must agree"),
        (lambda p: ball_query(p, p[:1], 1.0, 4), "both must agree"),
        (lambda p: ball_query(p, p, 0.0, 4), "radius must be above 0"),
        (lambda p: ball_query(p, p + torch.inf, 1.0, 4), "centers hold NaN or infinity"),
        (lambda p: three_nearest(p, p, backend="cuda"), "backend 'cuda' is unknown"),
        (lambda p: gather(p, torch.zeros(2, 3)), "int64 indices"),
        (lambda p: gather(p, torch.zeros(3, 3, dtype=torch.int64)), "int64 indices"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(cloud("uniform", 20, 7))


def stand_in() -> types.ModuleType:
    """A module that answers as PyTorch3D's documentation says its operators do."""
    module = types.ModuleType("pytorch3d.ops")

    def sample_farthest_points(points, lengths=None, K=50, random_start_point=True):
        assert not random_start_point
        assert points.dtype == torch.float32
        num_points = torch.full((len(points),), points.shape[1]) if lengths is None else lengths
        indices = reference.farthest_point_sample(points, K, lengths)
        indices = torch.where(torch.arange(K) < num_points[:, None], indices, -1)
        return gather(points, indices.clamp(min=0)), indices

    def query(p1, p2, lengths1=None, lengths2=None, K=500, radius=0.2, return_nn=True):
        indices, counts = reference.ball_query(p2, p1, radius, K, lengths2)
        return types.SimpleNamespace(idx=torch.where(torch.arange(K) < counts[..., None], indices, -1))

    def knn_points(p1, p2, lengths1=None, lengths2=None, K=1):
        distances, indices = reference.three_nearest(p1, p2, lengths2)
        present = distances[..., :K].isfinite()
        return types.SimpleNamespace(dists=torch.where(present, distances[..., :K] ** 2, 0), idx=indices[..., :K])

    module.sample_farthest_points, module.ball_query, module.knn_points = sample_farthest_points, query, knn_points
    return module


@given(clouds_with_lengths(), st.integers(1, 20))
def test_pytorch3d_answers_are_translated(case, count):
    points, lengths = case[0].float(), case[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pytorch3d", types.ModuleType("pytorch3d"))
        patch.setitem(sys.modules, "pytorch3d.ops", stand_in())
        patch.setattr(pytorch3d, "why_unusable", lambda device: None)
        with pytest.raises(ValueError, match="computes in float32"):
            choice.choose("pytorch3d", points.double())
        arguments = {"lengths": lengths, "backend": "pytorch3d"}
        samples = farthest_point_sample(points, count, **arguments)
        found = ball_query(points, points, 0.5, count, **arguments)
        distances, indices = three_nearest(points, points, **arguments)
    assert torch.equal(samples, reference.farthest_point_sample(points, count, lengths))
    twins = reference.ball_query(points, points, 0.5, count, lengths)
    assert torch.equal(found.indices, twins[0])
    assert torch.equal(found.counts, twins[1])
    torch.testing.assert_close((distances, indices), reference.three_nearest(points, points, lengths))


def test_the_choice_of_backend_is_said_and_checked():
    points = cloud("uniform", 4, 8)
    assert choice.choose("auto", points) == "numba"
    assert choice.choose("auto", points.to("meta")) == "torch"
    assert "numba on the CPU" in choice.describe()
    with pytest.raises(ValueError, match="not installed"):
        choice.choose("pytorch3d", points)
    with pytest.raises(ValueError, match="runs on cpu"):
        choice.choose("numba", points.to("meta"))
