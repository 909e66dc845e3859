"""Writes small SUN RGB-D downloads in the official formats, with every point and box known.

Run it to try the preparation by hand: `python tests/datasets/synthetic_sunrgbd.py FOLDER`.
"""

import io
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

PREFIXES = {"16": "/n/fs/sun3d/data/SUNRGBD/", "24": "/n/fs/sun3d/data/", "own": "/home/someone/OFFICIAL/SUNRGBD/"}
FOLDERS = (
    "kv1/NYUdata/NYU0001",
    "kv2/kinect2data/000065_2014-05-26_14-52-33_260595134347_rgbf000030-resize",
    "realsense/sa/2014_10_21-18_16_25-1311000073",
    "xtion/sun3ddata/brown_bm_1/brown_bm_1/0000006",
)
FLOOR = -1.2


@dataclass(repr=False)
class View:
    """One image: a depth camera at the origin that looks along +y, tilted, at boxes on a floor."""

    folder: str
    names: list[str]
    boxes: np.ndarray  # [K, 7] in our convention
    tilt: np.ndarray
    intrinsics: np.ndarray
    depth_mm: np.ndarray  # [H, W] uint16
    hit: np.ndarray  # [H, W] row of the box seen, -1 for the floor, -2 for nothing
    color_jpg: bytes
    entry: dict = field(default_factory=dict)  # fields that replace the correct ones in the metadata

    @property
    def stem(self) -> str:
        return self.folder.rsplit("/", 1)[-1]

    @property
    def depth_key(self) -> str:
        return f"{self.folder}/depth_bfx/{self.stem}.png"

    @property
    def color_key(self) -> str:
        return f"{self.folder}/image/{self.stem}.jpg"

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """[N, 6] points that the preparation must give, computed pixel by pixel as in the toolbox; [N] `hit`."""
        colors = np.asarray(Image.open(io.BytesIO(self.color_jpg)).convert("RGB")) / 255
        rows, hits = [], []
        for column in range(self.depth_mm.shape[1]):
            for row in range(self.depth_mm.shape[0]):
                depth = min(self.depth_mm[row, column] / 1000, 8.0)
                if depth:
                    x = (column + 1 - self.intrinsics[0, 2]) * depth / self.intrinsics[0, 0]
                    y = (row + 1 - self.intrinsics[1, 2]) * depth / self.intrinsics[1, 1]
                    rows.append([*(self.tilt @ [x, depth, -y]), *colors[row, column]])
                    hits.append(self.hit[row, column])
        return np.array(rows), np.array(hits)


def view(random: np.random.Generator, folder: str, *, num_boxes: int = 3, width: int = 48, height: int = 36) -> View:
    """A view of boxes side by side, of VoteNet's classes and one other."""
    angle = random.uniform(0.05, 0.3)
    cosine, sine = np.cos(angle), np.sin(angle)
    tilt = np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])  # looks down
    intrinsics = np.array([[0.8 * width, 0, width / 2 + 0.3], [0, 0.8 * width, height / 2 - 0.2], [0, 0, 1]])
    sizes = random.uniform(0.4, 0.8, (num_boxes, 3))
    centers = np.c_[np.linspace(-1, 1, num_boxes), random.uniform(2, 3, num_boxes), FLOOR + sizes[:, 2] / 2]
    boxes = np.c_[centers, sizes, random.uniform(-np.pi, np.pi, num_boxes)]
    names = [("chair", "bed", "night_stand", "lamp")[i % 4] for i in range(num_boxes)]
    depth, hit = render(boxes, tilt, intrinsics, width=width, height=height)
    color = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return View(folder, names, boxes, tilt, intrinsics, depth, hit, encoded(color, "JPEG"))


def render(boxes, tilt, intrinsics, *, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth in millimetres and the box that is hit, by one ray per pixel; pixels count from 1."""
    u, v = np.meshgrid(np.arange(1, width + 1), np.arange(1, height + 1))
    rays = np.stack(
        [(u - intrinsics[0, 2]) / intrinsics[0, 0], np.ones_like(u), (intrinsics[1, 2] - v) / intrinsics[1, 1]], -1
    )
    rays = rays @ tilt.T
    with np.errstate(divide="ignore", invalid="ignore"):
        nearest = np.where(rays[..., 2] < 0, FLOOR / rays[..., 2], np.inf)
        hit = np.where(np.isfinite(nearest), -1, -2)
        for k, (x, y, z, *size, yaw) in enumerate(boxes):
            turn = np.array([[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
            direction, start = rays @ turn.T, turn @ -np.array([x, y, z])
            half = np.array(size) / 2
            planes = np.stack([(-half - start) / direction, (half - start) / direction])
            enter, leave = planes.min(0).max(-1), planes.max(0).min(-1)
            first = (enter < leave) & (enter > 0) & (enter < nearest)
            nearest, hit = np.where(first, enter, nearest), np.where(first, k, hit)
    hit = np.where(nearest > 60, -2, hit)
    return np.where(hit == -2, 0, np.round(nearest * 1000)).astype(np.uint16), hit


def encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def depth_png(millimetres: np.ndarray) -> bytes:
    """The data set's 16-bit PNG: the value rotated to the left by three bits."""
    values = np.asarray(millimetres, np.uint16)
    return encoded(Image.fromarray((values << 3) | (values >> 13)), "PNG")


def files(views: list[View]) -> dict[str, bytes]:
    """The files in SUNRGBD/."""
    content = {}
    for one in views:
        content[one.depth_key] = depth_png(one.depth_mm)
        content[one.color_key] = one.color_jpg
        numbers = " ".join(str(value) for value in one.intrinsics.ravel())
        content[f"{one.folder}/intrinsics.txt"] = numbers.encode()
        # the toolbox's Rtilt is this rotation between the y-down camera's frame and the z-up one
        swap, back = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]), np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
        extrinsics = np.c_[swap.T @ one.tilt @ back.T, np.zeros(3)]
        content[f"{one.folder}/extrinsics/20140808.txt"] = "\n".join(
            " ".join(map(str, row)) for row in extrinsics
        ).encode()
    return content


def structs(rows: list[dict]) -> np.ndarray:
    """A 1 x N MATLAB struct array for `savemat`; an empty one is [], as MATLAB's scripts write it."""
    if not rows:
        return np.zeros((0, 0))
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row.values())
    return array


def metadata(views: list[View], *, prefix: str = "16", shift: float = 0.0) -> list[dict]:
    """Entries of SUNRGBDMeta with the fields and nesting of the official files; `shift` moves the labels in x."""
    entries = []
    for one in views:
        objects = []
        for name, (x, y, z, dx, dy, dz, yaw) in zip(one.names, one.boxes, strict=True):
            along, across = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([-np.sin(yaw), np.cos(yaw), 0])
            objects.append(
                {
                    "basis": np.stack([across, along, [0, 0, 1]]),
                    "coeffs": np.array([[dy / 2, -dx / 2, dz / 2]]),  # signs vary and are meaningless
                    "centroid": np.array([[x + shift, y, z]]),
                    "classname": name,
                    "labelname": name,
                    "sequenceName": f"SUNRGBD/{one.folder}",
                    "orientation": 0.7 * along[None],
                    "gtBb2D": np.array([[1.0, 2.0, 3.0, 4.0]]),
                }
            )
        entry = {
            "sequenceName": f"SUNRGBD/{one.folder}",
            "groundtruth3DBB": objects,
            "Rtilt": one.tilt,
            "K": one.intrinsics,
            "depthpath": PREFIXES[prefix] + one.depth_key,
            "rgbpath": PREFIXES[prefix] + one.color_key,
            "anno_extrinsics": one.tilt,
            "depthname": f"{one.stem}.png",
            "rgbname": f"{one.stem}.jpg",
            "sensorType": one.folder.split("/")[0],
            "valid": np.array([[1.0]]),
            "gtCorner3D": np.zeros((0, 0)),
        }
        entries.append({**entry, **one.entry})
    return entries


def write_mat(path: Path, variable: str, entries: list[dict]) -> None:
    """Write a metadata file of MATLAB version 5."""
    rows = [
        {name: structs(value) if isinstance(value, list) else value for name, value in row.items()} for row in entries
    ]
    savemat(path, {variable: structs(rows)}, do_compression=True)


def write_split(path: Path, train: list[str], test: list[str], *, prefix: str = "16") -> None:
    """Write allsplit.mat: cells of folders, some with a trailing slash."""
    cells = {}
    for name, folders in (("alltrain", train), ("alltest", test)):
        cells[name] = np.empty((1, len(folders)), object)
        for i, folder in enumerate(folders):
            cells[name][0, i] = PREFIXES[prefix] + folder + "/" * (i % 2)
    savemat(path, cells)


def write_download(
    root: Path, views: list[View], *, num_train: int = 2, prefix: str = "16", zipped: bool = True
) -> None:
    """Write the official downloads into a folder: images, toolbox and both versions of the labels."""
    (root / "SUNRGBDtoolbox" / "Metadata").mkdir(parents=True)
    (root / "SUNRGBDtoolbox" / "traintestSUNRGBD").mkdir()
    if zipped:
        with zipfile.ZipFile(root / "SUNRGBD.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("SUNRGBD/", b"")
            for name, content in files(views).items():
                archive.writestr(f"SUNRGBD/{name}", content)
                archive.writestr(f"__MACOSX/SUNRGBD/{name}", b"resource fork")
    else:
        for name, content in files(views).items():
            (root / "SUNRGBD" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "SUNRGBD" / name).write_bytes(content)
    write_mat(root / "SUNRGBDMeta3DBB_v2.mat", "SUNRGBDMeta", metadata(views, prefix=prefix))
    # the first version's labels, a centimetre off here, and its paths without the folder SUNRGBD
    first = metadata(views, prefix="24", shift=0.01)
    write_mat(root / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBDMeta.mat", "SUNRGBDMeta", first)
    folders = [one.folder for one in views]
    split = root / "SUNRGBDtoolbox" / "traintestSUNRGBD" / "allsplit.mat"
    write_split(split, folders[:num_train], folders[num_train:], prefix=prefix)


def views(count: int = 3, *, seed: int = 0, **settings) -> list[View]:
    """Random views in the folders of several sensors."""
    random = np.random.default_rng(seed)
    folders = [FOLDERS[i % len(FOLDERS)] + "x" * (i // len(FOLDERS)) for i in range(count)]
    return [view(random, folder, **settings) for folder in folders]


if __name__ == "__main__":
    write_download(Path(sys.argv[1]), views(6, width=320, height=240), num_train=4)
