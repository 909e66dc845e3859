"""PyTorch3D's point operators behind our signatures, for CUDA tensors where the package is installed.

What they promise (PyTorch3D 0.7): sampling starts at index 0 unless a random start is asked for and fills up with -1
when there are fewer points than samples; ball query returns the first K in index order with d^2 < r^2, padded with -1;
nearest neighbours come sorted, as squared distances, with 0 where points are missing. Sampling converts to float32.
None of them promises an order among equal distances, and a compiler that fuses multiplications with additions may
round a distance otherwise than the twins: expect their indices except where distances are equal to the last bits.
"""

import importlib.util

import torch
from torch import Tensor

__all__ = ["ball_query", "farthest_point_sample", "is_available", "three_nearest"]


def is_available() -> bool:
    """Whether PyTorch3D can be imported."""
    return importlib.util.find_spec("pytorch3d") is not None


def farthest_point_sample(points: Tensor, num_samples: int, lengths: Tensor | None) -> Tensor:
    """[B, S] int64; what PyTorch3D pads with -1 becomes 0, as when only duplicates are left."""
    from pytorch3d.ops import sample_farthest_points

    _, indices = sample_farthest_points(points, lengths, K=num_samples, random_start_point=False)
    return indices.clamp(min=0)


def ball_query(
    points: Tensor, centers: Tensor, radius: float, max_neighbors: int, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Indices [B, S, K] padded with the first hit, and counts [B, S]."""
    from pytorch3d.ops import ball_query as query

    found = query(centers, points, lengths2=lengths, K=max_neighbors, radius=radius, return_nn=False).idx
    return torch.where(found >= 0, found, found[..., :1].clamp(min=0)), (found >= 0).sum(-1)


def three_nearest(queries: Tensor, points: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Distances and indices [B, M, 3]; where there are fewer points, infinity and 0."""
    from pytorch3d.ops import knn_points

    found = knn_points(queries, points, lengths2=lengths, K=min(3, points.shape[1]))
    missing = 3 - found.idx.shape[-1]
    distances = torch.nn.functional.pad(found.dists, (0, missing), value=torch.inf)
    indices = torch.nn.functional.pad(found.idx, (0, missing))
    if lengths is not None:
        absent = torch.arange(3, device=points.device) >= lengths[:, None, None]
        distances, indices = distances.masked_fill(absent, torch.inf), indices.masked_fill(absent, 0)
    return distances.sqrt(), indices
