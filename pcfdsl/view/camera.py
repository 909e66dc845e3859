"""The viewpoint of a picture, and the projection of points into it."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Camera", "check_points", "is_wide"]

MARGIN = 0.04  # share of the picture left empty on each side


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the frame of the points.

    Attributes:
        position: Where the camera is, metres.
        target: What it looks at: the centre of the picture.
        up: A direction that points upwards in the picture; not parallel to the view.
        fov: Vertical field of view, degrees.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    fov: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.fov < 180:
            raise ValueError(f"Camera.fov is {self.fov}; it must lie between 0 and 180 degrees")
        forward = np.subtract(self.target, self.position)
        if not np.linalg.norm(np.cross(forward, self.up)) > 1e-9 * np.linalg.norm(forward) * np.linalg.norm(self.up):
            raise ValueError(
                f"the camera at {self.position} looking at {self.target} with up={self.up} has no orientation: "
                "position and target must differ, and up must not be parallel to the view"
            )

    @classmethod
    def looking_at(
        cls,
        points: np.ndarray,
        azimuth: float = -60.0,
        elevation: float | None = None,
        *,
        fov: float = 30.0,
        aspect: float = 1.0,
    ) -> "Camera":
        """The nearest camera in the given direction with every point in view, plus a small margin.

        Args:
            points: [N, 3] finite, N >= 1.
            azimuth: Degrees counter-clockwise from +x, seen from above, at which the camera stands; -90 looks along +y.
            elevation: Degrees above the horizon; 90 looks straight down. By default 22, and 40 for what `is_wide`.
            fov: Vertical field of view, degrees.
            aspect: Width over height of the picture.

        Raises:
            ValueError: If there are no points, or some are not finite.
        """
        points = check_points(points)
        if len(points) == 0:
            raise ValueError("there is nothing to look at: 0 points and no boxes")
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
        if elevation is None:
            elevation = 40.0 if is_wide(points) else 22.0
        az, el = np.radians([azimuth, elevation])
        toward_camera = np.array([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)])
        up = np.array([-np.sin(el) * np.cos(az), -np.sin(el) * np.sin(az), np.cos(el)])
        right = np.cross(up, toward_camera)
        middle = (low + high) / 2
        nearness = (points - middle) @ toward_camera

        # A point is inside one side of the frustum when  +-(x - shift) <= slope * (distance - nearness).  Taking the
        # tightest point for either sign gives two equations in shift and distance: an exact fit without iteration.
        slope_up = np.tan(np.radians(fov) / 2) * (1 - 2 * MARGIN)
        extent = float(np.linalg.norm(high - low)) or 1.0
        distance = float(nearness.max()) + 0.1 * extent
        distance = max(distance, 1e-6 * float(np.abs(middle).max()))  # or the camera would round onto its target
        center = middle
        for axis, slope in ((right, slope_up * aspect), (up, slope_up)):
            along = (points - middle) @ axis
            one_side, other_side = (along + slope * nearness).max(), (slope * nearness - along).max()
            distance = max(distance, float(one_side + other_side) / (2 * slope))
            center = center + axis * (one_side - other_side) / 2
        return cls(_triple(center + distance * toward_camera), _triple(center), _triple(up), fov)

    def project(self, points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Project points into a picture.

        Args:
            points: [N, 3].
            size: Width and height in pixels.

        Returns:
            (pixels, depth): [N, 2] float64 with x to the right and y down, pixel (column, row) covering
            [column, column + 1) x [row, row + 1); and [N] float64, metres along the view. Where the depth is not
            positive the point is behind the camera and its pixel is meaningless.
        """
        forward = np.subtract(self.target, self.position)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        relative = np.asarray(points, dtype=np.float64) - self.position
        view = relative @ np.stack([right, np.cross(forward, right), forward], axis=1)
        depth = view[:, 2]
        focal = size[1] / 2 / np.tan(np.radians(self.fov) / 2)
        safe = np.where(depth == 0, 1e-12, depth)
        return view[:, :2] * (focal / safe)[:, None] + (size[0] / 2, size[1] / 2), depth


def is_wide(points: np.ndarray) -> bool:
    """Whether the horizontal extent of points [N, 3] is over 1.5 times their height, as in rooms."""
    extent = np.ptp(points, axis=0) if len(points) else np.zeros(3)
    return bool(max(extent[:2]) > 1.5 * extent[2])


def check_points(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points have shape {points.shape}; expected [N, 3] (for extra columns pass points[:, :3])")
    bad = len(points) - int(np.isfinite(points).all(axis=1).sum())
    if bad:
        raise ValueError(
            f"{bad} of {len(points)} points are not finite; drop them: points[np.isfinite(points).all(axis=1)]"
        )
    return points


def _triple(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z
