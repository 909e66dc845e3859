"""The Triton kernels in Triton's interpreter against the twins; prints JSON. Run by test_triton_points.py in a process
of its own, as TRITON_INTERPRET=1 has to be set before anything imports Triton.
"""

import itertools
import json

import torch
from torch import Tensor

from pcfdsl.ops import reference
from pcfdsl.ops.backends import triton_points

KINDS = ("uniform", "grid", "copies", "one point", "near origin")


def cloud(kind: str, num_clouds: int, num_points: int, generator: torch.Generator) -> Tensor:
    """[B, N, 3] float32."""
    if kind == "grid":  # many equal distances, many duplicates
        return torch.randint(-3, 4, (num_clouds, num_points, 3), generator=generator) / 4
    points = torch.rand((num_clouds, num_points, 3), generator=generator) * 2 - 1
    if kind == "copies":
        return points[:, torch.arange(num_points) % (num_points // 5 + 1)]
    if kind == "one point":
        return points[:, :1].expand(-1, num_points, -1)
    return points * 0.05 if kind == "near origin" else points


def comparisons(generator: torch.Generator):
    """Yields (name, what the kernel gives, what the twin gives)."""
    for kind, (num_clouds, num_points, num_samples) in itertools.product(KINDS, ((2, 300, 10), (1, 5, 7), (3, 1, 3))):
        points = cloud(kind, num_clouds, num_points, generator)
        centers = torch.cat([points[:, : num_points // 12 + 1], points[:, :1] * 1.3 + 0.1, points[:, :1] + 9], 1)
        for lengths in (None, torch.randint(1, num_points + 1, (num_clouds,), generator=generator)):
            name = f"{kind}, B={num_clouds}, N={num_points}, lengths={lengths}"
            for skip in (False, True):
                arguments = points, num_samples, lengths, skip
                expected = reference.farthest_point_sample(*arguments)
                for max_tile in (128, 4096):
                    found = triton_points.farthest_point_sample(*arguments, max_tile=max_tile)
                    yield f"sampling, {name}, skip={skip}, tiles of {max_tile}", found, expected
            for radius, count in ((0.25, 8), (0.75, 16), (3.0, 5), (0.01, 3), (1.0, num_points + 3)):
                arguments = points, centers, radius, count, lengths
                expected = reference.ball_query(*arguments)
                for part, found, twin in zip(
                    ("indices", "counts"), triton_points.ball_query(*arguments), expected, strict=True
                ):
                    yield f"ball query {radius} {count} {part}, {name}", found, twin
            for num_neighbors in (1, 3):
                arguments = centers, points, num_neighbors, lengths
                distances, indices = triton_points.nearest(*arguments)
                twin_distances, twin_indices = reference.nearest(*arguments)
                yield f"nearest {num_neighbors} indices, {name}", indices, twin_indices
                chosen = reference.gather(points, twin_indices)
                squares = reference.squared_distances(centers[:, :, None], chosen)
                squares = torch.where(twin_distances.isinf(), torch.inf, squares)
                # In float64 and rounded once: torch's own float32 roots are not always those nearest to the truth.
                yield f"nearest {num_neighbors} distances, {name}", distances, squares.double().sqrt().float()
    for num_rows, num_values, num_channels, dtype in itertools.product(
        (1, 7, 40), (1, 90), (1, 5, 130), (torch.float32, torch.float64)
    ):
        rows = torch.randint(0, num_rows, (num_values,), generator=generator)
        values = torch.randn((num_values, num_channels), generator=generator, dtype=dtype)
        name = f"sum of {num_values} rows into {num_rows}, C={num_channels}, {dtype}"
        yield name, triton_points.sum_rows(values, rows, num_rows), reference.sum_rows(values, rows, num_rows)
    half = torch.randn((90, 5), generator=generator).half()
    rows = torch.randint(0, 7, (90,), generator=generator)
    yield (
        "sum of rows in float16",
        triton_points.sum_rows(half, rows, 7),
        reference.sum_rows(half.float(), rows, 7).half(),
    )


if __name__ == "__main__":
    found = [(name, torch.equal(kernel, twin)) for name, kernel, twin in comparisons(torch.Generator().manual_seed(0))]
    print(json.dumps({"comparisons": len(found), "differences": [name for name, equal in found if not equal]}))
