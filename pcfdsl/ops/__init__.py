"""Point, box and sparse operators: each fast one has an obviously right twin in plain torch.

    farthest_point_sample, ball_query, gather, three_nearest, nearest, three_interpolate  points, as in PointNet++
    iou_3d_pairs, points_in_boxes, nms_3d                                                oriented boxes
    sparse                          sparse convolutions on voxels

The names are imported when they are first used: packages below the torch line use the NumPy kernels in `ops.backends`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcfdsl.ops import sparse
    from pcfdsl.ops.boxes3d import iou_3d_pairs, points_in_boxes
    from pcfdsl.ops.grouping import ball_query, gather
    from pcfdsl.ops.interpolate import inverse_distance_weights, nearest, three_interpolate, three_nearest
    from pcfdsl.ops.nms import nms_3d
    from pcfdsl.ops.sampling import farthest_point_sample

__all__ = [
    "ball_query",
    "farthest_point_sample",
    "gather",
    "inverse_distance_weights",
    "iou_3d_pairs",
    "nearest",
    "nms_3d",
    "points_in_boxes",
    "sparse",
    "three_interpolate",
    "three_nearest",
]

_HOME_OF = {
    "ball_query": "grouping",
    "farthest_point_sample": "sampling",
    "gather": "grouping",
    "inverse_distance_weights": "interpolate",
    "iou_3d_pairs": "boxes3d",
    "nearest": "interpolate",
    "nms_3d": "nms",
    "points_in_boxes": "boxes3d",
    "three_interpolate": "interpolate",
    "three_nearest": "interpolate",
}


def __getattr__(name: str) -> Any:
    if name == "sparse":
        return importlib.import_module("pcfdsl.ops.sparse")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
