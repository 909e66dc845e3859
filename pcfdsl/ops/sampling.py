"""Farthest point sampling."""

import numpy as np
import torch
from torch import Tensor

from pcfdsl.ops import reference
from pcfdsl.ops.backends import graph, pytorch3d
from pcfdsl.ops.backends import numba_points as kernels
from pcfdsl.ops.backends.choice import Backend, check_points, choose
from pcfdsl.ops.backends.numba_rows import over_blocks

__all__ = ["farthest_point_sample"]

_NEAR_ORIGIN = 1e-3  # squared metres: the released kernel takes such points for padding


def farthest_point_sample(
    points: Tensor,
    num_samples: int,
    *,
    lengths: Tensor | None = None,
    skip_near_origin: bool = False,
    trusted: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """Indices of points each of which is farthest from those before it (PointNet++, section 3.2).

    Starts at index 0; among equally far points the lowest index is taken. Once every point has been chosen, distances
    are all zero and the lowest candidate (index 0) repeats. Sampling from the samples returns the leading ones.

    Args:
        points: [B, N, 3] float32 or float64.
        num_samples: S, at least 1.
        lengths: [B] int64; the number of leading points of each item that are used; None: all.
        skip_near_origin: Never choose points with |p|^2 <= 1e-3 (except as the start), as the released CUDA
            kernel does.
        trusted: Skip the check of values, because they were checked before or gathered from points that were. Saves a
            pass over them, and on a GPU a synchronisation.
        backend: See `ops.backends.choice.choose`. PyTorch3D cannot skip points and leaves that to torch.

    Returns:
        [B, S] int64.

    Raises:
        ValueError: For wrong shapes, types or lengths, and for coordinates that are not finite.

    >>> farthest_point_sample(torch.tensor([[[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [2, 0, 0]]]), 3)
    tensor([[0, 2, 3]])
    """
    check_points("points", points, lengths, trusted=trusted)
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    backend = choose(backend, points)  # type: ignore[assignment]
    if backend in ("numba", "triton"):
        return _farthest(points.detach(), num_samples, lengths, skip_near_origin)
    if backend == "pytorch3d" and not skip_near_origin:
        return pytorch3d.farthest_point_sample(points.detach(), num_samples, lengths)
    plain = graph if backend == "graph" else reference
    return plain.farthest_point_sample(points.detach(), num_samples, lengths, skip_near_origin)


@torch.library.custom_op("pcfdsl::farthest_point_sample", mutates_args=(), device_types="cpu")
def _farthest(points: Tensor, num_samples: int, lengths: Tensor | None, skip_near_origin: bool) -> Tensor:
    clouds = points.contiguous().numpy()
    samples = np.empty((len(clouds), num_samples), np.int64)

    def sample(start: int, stop: int) -> None:
        for b in range(start, stop):
            cloud = clouds[b, : None if lengths is None else int(lengths[b])]
            candidates = np.arange(len(cloud))
            if skip_near_origin:
                squares = cloud * cloud
                candidates = candidates[(squares[:, 0] + squares[:, 1]) + squares[:, 2] > _NEAR_ORIGIN]
            distances = np.empty(len(candidates), cloud.dtype)
            kernels.farthest(cloud, candidates, distances, distances.view(f"i{cloud.itemsize}"), samples[b])

    over_blocks(sample, len(clouds), block=1)
    return torch.from_numpy(samples)


@_farthest.register_kernel("cuda")
def _(points, num_samples, lengths, skip_near_origin):
    from pcfdsl.ops.backends import triton_points  # there is no Triton on macOS

    return triton_points.farthest_point_sample(points, num_samples, lengths, skip_near_origin)


@_farthest.register_fake
def _(points, num_samples, lengths, skip_near_origin):
    return points.new_empty((points.shape[0], num_samples), dtype=torch.int64)
