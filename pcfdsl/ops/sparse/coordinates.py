"""Voxel coordinates: from points, checked, and packed into one sortable integer each."""

import torch
from torch import Tensor

__all__ = [
    "COORDINATE_LIMIT",
    "MAX_BATCH",
    "check_coordinates",
    "locate",
    "pack",
    "quantize",
    "quantize_batch",
    "shift_keys",
    "unpack",
]

COORDINATE_LIMIT = 2**15  # coordinates lie in -COORDINATE_LIMIT..COORDINATE_LIMIT - 1
MAX_BATCH = 2**12
# An axis takes 17 bits although coordinates need 16: a kernel may then reach beyond the range without a carry into the
# next axis, and what it reaches is no voxel's key.
_AXIS_BITS = 17


def quantize(
    points: Tensor,
    voxel_size: float,
    *,
    origin: Tensor | None = None,
    batch_idx: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Voxels that hold at least one point, in the order of their first points.

    A voxel spans [c, c + 1) * voxel_size along each axis. The first of the points in a voxel represents it, as in
    MinkowskiEngine's `sparse_quantize`.

    Args:
        points: [N, 3] float32 or float64, metres.
        voxel_size: Edge, metres.
        origin: [3] metres; where the corner of voxel (0, 0, 0) lies. None: the points' own origin.
        batch_idx: [N] integer; which cloud of a batch each point is of. None: all are of one.

    Returns:
        Coordinates [V, 3] int64, or with `batch_idx` [V, 4] (batch, x, y, z); the representative points [V] int64,
        increasing; and the voxel of each point [N] int64.

    Raises:
        ValueError: If there are no points, the points have another shape or type or are not finite, or voxels fall
            outside -32768..32767.

    >>> points = torch.tensor([[0.06, 0.0, 0.0], [-0.01, 0.0, 0.0], [0.09, 0.01, 0.04]])
    >>> coordinates, points_idx, voxel_idx = quantize(points, 0.05)
    >>> coordinates.tolist(), points_idx.tolist(), voxel_idx.tolist()
    ([[1, 0, 0], [-1, 0, 0]], [0, 1], [0, 1, 0])
    """
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"points must be float32 or float64 [N, 3], got {points.dtype} {list(points.shape)}")
    if not len(points):
        raise ValueError("there are no points to quantize; omit empty clouds")
    if not 0 < voxel_size < float("inf"):
        raise ValueError(f"voxel_size must be positive and finite (metres), got {voxel_size}")
    for name, other in (("origin", origin), ("batch_idx", batch_idx)):
        if other is not None and other.device != points.device:
            raise ValueError(f"points are on {points.device}, {name} is on {other.device}; move them to one device")
    if origin is not None and origin.shape != (3,):
        raise ValueError(f"origin must be [3] metres, got {list(origin.shape)}")
    if batch_idx is not None and (batch_idx.shape != points.shape[:1] or batch_idx.is_floating_point()):
        raise ValueError(
            f"batch_idx must be integer [N] = [{len(points)}], got {batch_idx.dtype} {list(batch_idx.shape)}"
        )
    cells = torch.floor((points if origin is None else points - origin) / voxel_size)
    batch = points.new_zeros(len(points), dtype=torch.int64) if batch_idx is None else batch_idx.long()
    near = (cells >= -COORDINATE_LIMIT) & (cells < COORDINATE_LIMIT)  # nor is NaN
    # Every number that the host needs, in one transfer.
    all_near, first_item, last_item = torch.stack([near.all().long(), batch.min(), batch.max()]).tolist()
    if not all_near:
        finite = torch.isfinite(points)
        if not bool(finite.all()):
            row = int((~finite).any(1).nonzero()[0])
            raise ValueError(f"points hold NaN or infinity, first at point {row}: {points[row].tolist()}")
        row = int((~near).any(1).nonzero()[0])
        raise ValueError(
            f"point {row} at {points[row].tolist()} m falls outside voxels {-COORDINATE_LIMIT}..{COORDINATE_LIMIT - 1} "
            f"of {voxel_size} m; centre the cloud, give an origin near it, or use larger voxels"
        )
    _check_batch(first_item, last_item)
    cells = torch.cat([batch[:, None], cells.long()], 1)
    keys, sorted_idx = torch.unique(pack(cells), return_inverse=True)
    point = torch.arange(len(points), device=points.device)
    first = torch.full_like(keys, len(points)).scatter_reduce(0, sorted_idx, point, "amin")
    first, order = first.sort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(keys), device=points.device)
    return cells[first, int(batch_idx is None) :], first, rank[sorted_idx]


def quantize_batch(points: Tensor, voxel_size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Voxels of a batch of scenes with equally many points.

    Args:
        points: [B, N, 3 + C] float32; the first three columns are metres.
        voxel_size: Edge of a voxel, metres.

    Returns:
        Coordinates [V, 4] (batch, x, y, z), the first row of each voxel in `points.flatten(0, 1)` [V], and the scene of
        every row [B * N].

    Raises:
        ValueError: As `quantize`.
    """
    scene = torch.arange(len(points), device=points.device).repeat_interleave(points.shape[1])
    coordinates, first, _ = quantize(points[..., :3].flatten(0, 1).contiguous(), voxel_size, batch_idx=scene)
    return coordinates, first, scene


def check_coordinates(coordinates: Tensor, features: Tensor) -> None:
    """Check the parts of a sparse tensor, except for duplicates (`Voxels` finds those when it sorts).

    Raises:
        ValueError: If they are invalid; the message says what was expected.
    """
    if coordinates.ndim != 2 or coordinates.shape[1] != 4 or coordinates.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            "coordinates must be int32 or int64 [V, 4] (batch, x, y, z), got "
            f"{coordinates.dtype} {list(coordinates.shape)}; `quantize` makes them from points"
        )
    if not len(coordinates):
        raise ValueError("there are no voxels; omit empty clouds from the batch")
    if features.ndim != 2 or len(features) != len(coordinates) or not features.is_floating_point():
        raise ValueError(
            f"features must be floating point [V, C] with V = {len(coordinates)}, got "
            f"{features.dtype} {list(features.shape)}"
        )
    if features.device != coordinates.device:
        raise ValueError(
            f"coordinates are on {coordinates.device}, features on {features.device}; move them to one device"
        )
    batch_idx, xyz = coordinates[:, 0].long(), coordinates[:, 1:]
    occurs = batch_idx.new_zeros(MAX_BATCH).index_fill(0, batch_idx.clamp(0, MAX_BATCH - 1), 1)
    # Every number that the host needs, in one transfer.
    numbers = torch.stack([xyz.min().long(), xyz.max().long(), batch_idx.min(), batch_idx.max(), occurs.sum()])
    lowest, highest, first_item, last_item, num_items = numbers.tolist()
    if lowest < -COORDINATE_LIMIT or highest >= COORDINATE_LIMIT:
        raise ValueError(
            f"voxel coordinates run from {lowest} to {highest}; they must lie in "
            f"{-COORDINATE_LIMIT}..{COORDINATE_LIMIT - 1}"
        )
    _check_batch(first_item, last_item)
    if num_items <= last_item:
        raise ValueError(
            f"batch item {int(occurs.argmin())} has no voxels, item {last_item} has; number items from 0 without gaps"
        )


def _check_batch(first_item: int, last_item: int) -> None:
    if first_item < 0 or last_item >= MAX_BATCH:
        raise ValueError(f"batch indices run from {first_item} to {last_item}; they must lie in 0..{MAX_BATCH - 1}")


def pack(coordinates: Tensor) -> Tensor:
    """Keys [V] int64 of coordinates [V, 4]; they sort by batch, x, y, z."""
    batch, x, y, z = coordinates.long().unbind(1)
    middle = 1 << (_AXIS_BITS - 1)
    return (((((batch << _AXIS_BITS) + x + middle) << _AXIS_BITS) + y + middle) << _AXIS_BITS) + z + middle


def unpack(keys: Tensor) -> Tensor:
    """Coordinates [V, 4] int64 of keys [V]."""
    middle, mask = 1 << (_AXIS_BITS - 1), (1 << _AXIS_BITS) - 1
    axes = [((keys >> shift) & mask) - middle for shift in (2 * _AXIS_BITS, _AXIS_BITS, 0)]
    return torch.stack([keys >> (3 * _AXIS_BITS), *axes], 1)


def locate(coordinates: Tensor, among: Tensor) -> Tensor:
    """Row of each voxel [V, 4] in others [V', 4], both without duplicates: [V] int64.

    Raises:
        ValueError: If a voxel is not among the others.
    """
    wanted, (keys, order) = pack(coordinates), pack(among).sort()
    place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    absent = keys[place] != wanted
    if bool(absent.any()):
        raise ValueError(
            f"{int(absent.sum())} voxels are not among the others, the first (batch, x, y, z) is "
            f"{coordinates[absent][0].tolist()}"
        )
    return order[place]


def shift_keys(offsets: Tensor) -> Tensor:
    """What to add to a voxel's key [K] int64 to get that of the voxel at an offset [K, 3] from it."""
    x, y, z = offsets.long().unbind(1)
    return (((x << _AXIS_BITS) + y) << _AXIS_BITS) + z
