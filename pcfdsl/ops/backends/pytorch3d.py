"""PyTorch3D's point operators behind our signatures, for CUDA tensors where the package is installed.

Their contract (PyTorch3D 0.7): sampling starts at index 0 unless a random start is requested, and pads with -1
when there are fewer points than samples; ball query returns the first K in index order with d^2 < r^2, padded with -1;
nearest neighbours are sorted, with squared distances, with 0 where points are missing. Sampling converts to float32.
None of them promises an order among equal distances, and a compiler that fuses multiplications with additions may
round a distance differently from the twins: expect their indices except where distances are equal to the last bits.
"""

import functools
import importlib.util

import torch
from torch import Tensor

__all__ = ["ball_query", "farthest_point_sample", "nearest", "why_unusable"]


@functools.cache
def why_unusable(device: str = "cuda") -> str | None:
    """Why PyTorch3D's operators cannot run on such a device, in a few words; None if they can.

    The first call runs each on one point: a PyTorch3D built without CUDA, or for another torch, is found out only then.
    """
    if importlib.util.find_spec("pytorch3d") is None:
        return "PyTorch3D is not installed"
    if device == "cuda" and not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        point = torch.zeros(1, 1, 3, device=device)
        farthest_point_sample(point, 1, None)
        ball_query(point, point, 1.0, 1, None)
        nearest(point, point, 1, None)[1].cpu()
    except Exception as error:  # an import can fail in as many ways as there are compilers
        return f"PyTorch3D failed: {type(error).__name__}: {error}"
    return None


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


def nearest(queries: Tensor, points: Tensor, num_neighbors: int, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Distances and indices [B, M, K]; where there are fewer points, infinity and 0."""
    from pytorch3d.ops import knn_points

    found = knn_points(queries, points, lengths2=lengths, K=min(num_neighbors, points.shape[1]))
    missing = num_neighbors - found.idx.shape[-1]
    distances = torch.nn.functional.pad(found.dists, (0, missing), value=torch.inf)
    indices = torch.nn.functional.pad(found.idx, (0, missing))
    if lengths is not None:
        absent = torch.arange(num_neighbors, device=points.device) >= lengths[:, None, None]
        distances, indices = distances.masked_fill(absent, torch.inf), indices.masked_fill(absent, 0)
    return distances.sqrt(), indices
