"""Depth and colour images of SUN RGB-D, from its zip or its unpacked folder, and their points."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcfdsl.readers.folders import is_debris
from pcfdsl.readers.sunrgbd_meta import SENSORS, frame_key

__all__ = ["ImageFiles", "read_color", "read_depth", "unproject"]

_MAX_BYTES = 64 << 20  # real images have less than 2 MB
_MAX_PIXELS = 1 << 24
_MAX_DEPTH = 8.0  # metres, as in the data set's own reader


class ImageFiles:
    """The image files of SUN RGB-D by their path relative to the folder of all sensors, such as `kv1/...`.

    Picklable; every process opens the zip for itself.

    Args:
        path: SUNRGBD.zip, which is read without unpacking, or the folder it was unpacked to, or that folder's parent.

    Raises:
        OSError: If the path does not exist, or holds no sensor's folder.
        ValueError: If the zip is damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._zip: zipfile.ZipFile | None = None
        self._root: Path | None = None
        if self.path.is_dir():
            folders = (self.path, self.path / "SUNRGBD", self.path / "SUNRGBD" / "SUNRGBD")
            self._root = next((f for f in folders if any((f / sensor).is_dir() for sensor in SENSORS)), None)
            found = self._root is not None
        elif self.path.is_file():
            self._open()
            found = bool(self._members)
        else:
            raise FileNotFoundError(f"there is no {self.path}; expected SUNRGBD.zip or its unpacked folder")
        if not found:
            raise FileNotFoundError(f"{self.path} holds no sensor's folder; expected some of {', '.join(SENSORS)}")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_root": self._root, "_members": {}, "_zip": None}

    def __contains__(self, key: str) -> bool:
        if self._root is not None:
            return (self._root / frame_key(key)).is_file()
        self._open()
        return key in self._members

    def read(self, key: str) -> bytes:
        """Read a file.

        Raises:
            OSError: If it is missing; the message names it.
            ValueError: If it is damaged or far too large.
        """
        if self._root is not None:
            path = self._root / frame_key(key)
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing")
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError(f"{path} has {path.stat().st_size} bytes; it is not an image of SUN RGB-D")
            return path.read_bytes()
        self._open()
        member = self._members.get(key)
        if member is None:
            raise FileNotFoundError(f"{key} is missing from {self.path}")
        if member.file_size > _MAX_BYTES:
            raise ValueError(f"{key} in {self.path} has {member.file_size} bytes; it is not an image of SUN RGB-D")
        assert self._zip is not None
        try:
            return self._zip.read(member)
        except Exception as error:  # zlib, zipfile and the system raise all kinds of exceptions, some without a message
            raise ValueError(f"{key} in {self.path} is damaged ({error}); download the zip again") from error

    def _open(self) -> None:
        if self._zip is not None:
            return
        try:
            self._zip = zipfile.ZipFile(self.path)
        except Exception as error:  # zipfile's checks of the directory are incomplete
            raise ValueError(f"{self.path} is not a valid zip file ({error}); download it again") from error
        for member in self._zip.infolist():
            if not any(is_debris(part) for part in member.filename.split("/")):
                try:
                    self._members.setdefault(frame_key(member.filename), member)
                except ValueError:
                    continue  # not an image: outside the sensors' folders


def read_depth(content: bytes) -> np.ndarray:
    """Decode a 16-bit depth PNG of SUN RGB-D, whose values are rotated by three bits.

    Returns:
        [H, W] float32 metres, at most 8; 0 where nothing was measured.

    Raises:
        ValueError: If it is not such a PNG.
    """
    pixels = _pixels(content, kinds=("I;16", "I;16B", "I"), expected="a 16-bit grey PNG").astype(np.uint16)
    millimetres = (pixels >> 3) | (pixels << 13)
    return np.minimum(millimetres.astype(np.float32) / np.float32(1000), np.float32(_MAX_DEPTH))


def read_color(content: bytes) -> np.ndarray:
    """Decode a colour image: [H, W, 3] float32 in 0..1.

    Raises:
        ValueError: If it is not an image.
    """
    pixels = _pixels(content, kinds=("RGB", "L", "RGBA", "P"), expected="a colour image", convert="RGB")
    return pixels.astype(np.float32) / np.float32(255)


def unproject(depth: np.ndarray, *, intrinsics: np.ndarray, tilt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn a depth image into points in the upright frame: x right, y forward, z up, the camera at the origin.

    Args:
        depth: [H, W] metres, 0 where nothing was measured.
        intrinsics: [3, 3]; pixels count from 1.
        tilt: [3, 3], from the level frame to the upright one.

    Returns:
        (points, pixels): [N, 3] float32 metres, column by column of the image as in VoteNet's files; [N] int64 indices
        into the flattened image, [H * W].
    """
    height, width = depth.shape
    column, row = (index.ravel() for index in np.mgrid[:width, :height])
    measured = depth[row, column] > 0
    column, row = column[measured], row[measured]
    forward = depth[row, column].astype(np.float64)
    right = (column + 1 - intrinsics[0, 2]) * forward / intrinsics[0, 0]
    down = (row + 1 - intrinsics[1, 2]) * forward / intrinsics[1, 1]
    points = np.stack([right, forward, -down], axis=1) @ tilt.T
    return points.astype(np.float32), row * width + column


def _pixels(content: bytes, *, kinds: tuple[str, ...], expected: str, convert: str | None = None) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in kinds:
                raise ValueError(f"has mode {image.mode}; expected {expected}")
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"has {image.width} x {image.height} pixels; it is not an image of SUN RGB-D")
            return np.asarray(image.convert(convert) if convert else image)
    except ValueError:
        raise
    except Exception as error:  # Pillow raises all kinds of exceptions on damaged files
        raise ValueError(f"is not a valid image ({type(error).__name__}: {error})") from None
