"""Point operators as graphs: the indices of their twins, when exported, when reloaded, and in onnxruntime."""

import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pcfdsl.ops import reference
from pcfdsl.ops.backends import graph
from pcfdsl.ops.grouping import ball_query
from pcfdsl.ops.interpolate import three_nearest
from pcfdsl.ops.neighborhoods import neighbor_rows
from pcfdsl.ops.rows import norm_relu_max
from pcfdsl.ops.sampling import farthest_point_sample
from tests.ops.test_points import cloud

NUM_POINTS = 300


class Operators(nn.Module):
    """All point operators, as networks call them."""

    def __init__(self, num_samples: int, radius: float, num_neighbors: int, skip: bool):
        super().__init__()
        self.num_samples, self.radius, self.num_neighbors, self.skip = num_samples, radius, num_neighbors, skip

    def forward(self, points: Tensor) -> tuple[Tensor, ...]:
        samples = farthest_point_sample(points, self.num_samples, skip_near_origin=self.skip)
        centers = torch.cat([reference.gather(points, samples), points[:, :1] + 100], 1)
        neighbors = ball_query(points, centers, self.radius, self.num_neighbors)
        rows = neighbor_rows(neighbors.indices, neighbors.counts, num_points=points.shape[1])
        values, ones = points.flatten(0, 1)[rows.point_idx], torch.ones(3)
        statistics = torch.stack([-ones, ones])
        pooled, _ = norm_relu_max(
            values, ones, ones, starts=rows.starts, multiplicity=rows.multiplicity, eps=0.1, statistics=statistics
        )
        distances, nearest = three_nearest(points, centers)
        return samples, neighbors.indices, neighbors.counts, nearest, distances, pooled


# More samples than points, more neighbours than points, and several blocks of queries are among them.
CASES = [(1, 0.5, 1, False), (70, 0.6, 12, True), (NUM_POINTS + 40, 3.0, NUM_POINTS + 5, False)]


def program(case: tuple) -> torch.export.ExportedProgram:
    return torch.export.export(Operators(*case), (cloud("room", NUM_POINTS, 9)[:1],), strict=False)


def assert_same(found, expected) -> None:
    for name, a, b in zip(("samples", "neighbors", "counts", "nearest"), found, expected, strict=False):
        assert torch.equal(a, b), name
    for a, b in zip(found[4:], expected[4:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_exported_operators_have_the_indices_of_their_twins(case, monkeypatch):
    monkeypatch.setattr(graph, "_PAIRS_AT_ONCE", 50 * NUM_POINTS)
    file = io.BytesIO()
    torch.export.save(program(case), file)
    reloaded = torch.export.load(io.BytesIO(file.getvalue())).module()
    for kind in ("uniform", "grid", "room"):
        points = cloud(kind, NUM_POINTS, 3)[:1]
        assert_same(reloaded(points), Operators(*case)(points))
    assert_same(reloaded(torch.zeros_like(points)), Operators(*case)(torch.zeros_like(points)))


@pytest.mark.parametrize("case", CASES)
def test_onnx_operators_have_the_indices_of_their_twins(case, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'pcfdsl[onnx]'")
    monkeypatch.setattr(graph, "_PAIRS_AT_ONCE", 50 * NUM_POINTS)
    written = torch.onnx.export(program(case), input_names=["points"], optimize=False, verbose=False)
    session = onnxruntime.InferenceSession(written.model_proto.SerializeToString())
    for kind in ("uniform", "grid", "room"):
        points = cloud(kind, NUM_POINTS, 3)[:1]
        found = session.run(None, {"points": np.asarray(points)})
        assert_same([torch.from_numpy(values) for values in found], Operators(*case)(points))


def test_clouds_of_several_lengths_are_refused():
    class Padded(nn.Module):
        def forward(self, points, lengths):
            return farthest_point_sample(points, 4, lengths=lengths)

    with pytest.raises(ValueError, match="cannot be exported"):
        torch.export.export(Padded(), (cloud("grid", 9, 0), torch.tensor([9, 5])), strict=False)
