"""What can be looked at: files, folders and recipes of clouds, scenes and images, as items of a page or a sheet."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pcfdsl.config import load
from pcfdsl.datasets.detection_set import StoredDetectionSet
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.pointcloud.released import open_pcfractal
from pcfdsl.readers.arrays import read_array, read_arrays
from pcfdsl.readers.meshes import MESH_FILES, read_geometries
from pcfdsl.rng import stream
from pcfdsl.scene.boxes import Scene
from pcfdsl.scene.config import FractalScenesConfig
from pcfdsl.scene.objects import sample_surface
from pcfdsl.scene.synthesize import FractalScenes
from pcfdsl.store.manifest import read_manifest
from pcfdsl.store.pictures import decode_png
from pcfdsl.store.stored import open_set
from pcfdsl.view.page import PageItem, Picture, Section, write_page, write_report
from pcfdsl.view.pictures import (
    PICTURE_KINDS,
    PictureCatalogue,
    fit,
    picture_of_file,
    pictures_of_folder,
    pictures_of_recipe,
    pictures_of_set,
)
from pcfdsl.view.render import render_points
from pcfdsl.view.scenes import scene_items
from pcfdsl.view.sheet import contact_sheet

__all__ = ["FILE_KINDS", "load_items", "load_shown", "render_items", "write_items"]

FILE_KINDS = (*MESH_FILES, ".npy", ".npz", ".bin")
RECIPE_KINDS = (".yaml", ".yml")
MESH_POINTS = 20_000


@dataclass(frozen=True)
class _Catalogue:
    """How many clouds there are, and how to read cloud i; nothing is read before it is chosen."""

    num_items: int
    read: Callable[[int], PageItem]


def load_items(
    path: str | Path, *, num_items: int = 64, max_points: int = 50_000, bin_columns: int = 6
) -> list[PageItem]:
    """`load_shown` of what has clouds.

    Raises:
        ValueError: If there are pictures instead, too.
    """
    found = load_shown(path, num_items=num_items, max_points=max_points, bin_columns=bin_columns)
    items = [item for item in found if isinstance(item, PageItem)]
    if not items:
        raise ValueError(f"{path} holds pictures; expected clouds or scenes")
    return items


def load_shown(
    path: str | Path, *, num_items: int = 64, max_points: int = 50_000, bin_columns: int = 6
) -> list[PageItem] | list[Picture]:
    """Clouds or pictures found under a path, at most `num_items` of them, spread evenly over what is there.

    | path | becomes |
    | --- | --- |
    | .ply .obj .off .stl .glb | the points, or 20,000 points drawn on the surface by area |
    | .npy | [N, 3 or more], or [S, N, 3 or more] as S clouds |
    | .npz | array `points` [N, 3 or more], with `boxes` [K, 7] and `colors` [N, 3] where it holds them |
    | .bin | float32 rows of `bin_columns`; x y z and, from six columns on, red green blue |
    | .yaml | the clouds of a PC-FractalDB recipe; with `scenes` or `fractals` at its top level, the scenes of one |
    | .yaml with `dataset` at its top level | the images of an image set |
    | .png .jpg and other pictures | that picture |
    | folder of a generated set | its clouds, scenes, or images, with their masks where they have any |
    | folder of a detection set | the scenes of all its splits, with their boxes |
    | any other folder | all files of these kinds below it, by name; recipes are left out; pictures or tars of \
pictures where there are no clouds |

    Columns 3 to 5 of an array are colours, 0 to 1 or 0 to 255. Points that are not finite are left out and the caption
    says so; of a larger cloud `max_points` are drawn without replacement, the same ones every time.

    Raises:
        FileNotFoundError: If there is no such path.
        ConfigError: If a recipe has problems.
        ValueError: If nothing can be shown there, or a file does not hold what its name promises.
    """
    catalogue = _catalogue(Path(path), bin_columns)
    if catalogue.num_items == 0:
        raise ValueError(
            f"{path} holds no clouds or pictures; clouds that can be shown end in {' '.join(FILE_KINDS)}, or are images"
        )
    num_items = min(num_items, catalogue.num_items)
    chosen = [i * catalogue.num_items // num_items for i in range(num_items)]
    bar = tqdm(chosen, desc="reading", unit="item", disable=None)
    if isinstance(catalogue, PictureCatalogue):
        return [catalogue.read(i) for i in bar]
    return [_thinned(catalogue.read(i), max_points) for i in bar]


def write_items(path: str | Path, items: Sequence[PageItem] | Sequence[Picture], *, title: str) -> Path:
    """Write one self-contained HTML file: a viewer of clouds, or pictures one below the other."""
    pictures = [item for item in items if isinstance(item, Picture)]
    if pictures:
        return write_report(path, [Section(f"{len(pictures)} pictures", pictures)], title=title)
    return write_page(path, [item for item in items if isinstance(item, PageItem)], title=title)


def render_items(
    items: Sequence[PageItem] | Sequence[Picture], *, size: tuple[int, int] = (320, 280), columns: int | None = None
) -> np.ndarray:
    """Contact sheet of the items with their captions: [height, width, 3] uint8. Where there are several boxes, the
    near sides of the room around them are left open.
    """
    pictures, captions = [], []
    for item in items:
        captions.append(item.caption)
        if isinstance(item, Picture):
            image = item.image if isinstance(item.image, np.ndarray) else decode_png(item.image)
            pictures.append(fit(image, max(size) if image.shape[0] == image.shape[1] else 2 * max(size)))
            continue
        boxes, open_sides = item.boxes, len(item.boxes) > 1
        pictures.append(
            render_points(
                item.points,
                colors=item.colors,
                size=size,
                boxes=boxes,
                box_colors=item.box_colors,
                open_sides=open_sides,
            )
        )
    return contact_sheet(pictures, captions, columns=columns)


def _catalogue(path: Path, bin_columns: int) -> _Catalogue | PictureCatalogue:
    """Every kind of source is one case here."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    if (path / "manifest.json").is_file():
        return _generated(path)
    if (path / "set.json").is_file():
        return _detection_set(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in FILE_KINDS and file.is_file())
        if not files:
            return pictures_of_folder(path)
        return _Catalogue(len(files), lambda i: _read_file(files[i], str(files[i].relative_to(path)), bin_columns))
    if path.suffix.lower() in PICTURE_KINDS:
        return PictureCatalogue(1, lambda _: picture_of_file(path, path.name))
    if path.suffix.lower() == ".npy":
        array = read_array(path)
        if array.ndim == 3:
            return _Catalogue(len(array), lambda i: _from_rows(array[i], f"{path.stem} {i}", path))
    if path.suffix.lower() in RECIPE_KINDS:
        return _recipe(path)
    return _Catalogue(1, lambda _: _read_file(path, path.name, bin_columns))


def _generated(path: Path) -> _Catalogue | PictureCatalogue:
    """A set that the driver stored: of scenes, of images, or of clouds with a category and an instance."""
    if "file_format" in read_manifest(path).inputs:
        return pictures_of_folder(path / "image" if (path / "image").is_dir() else path)
    stored = open_set(path)

    def read(i: int) -> PageItem:
        sample = stored[i]
        if "boxes" in sample:
            return scene_items([Scene(**sample)], captions=[f"scene {i}"])[0]
        caption = f"category {sample['category']}, instance {sample['instance']}"
        return PageItem(sample["points"], caption=caption)

    if len(stored) and "image" in stored[0]:
        return pictures_of_set(stored)
    if len(stored) and "points" not in stored[0]:
        raise ValueError(f"{path} is a set of {stored.manifest.recipe}, which has no points to show")
    return _Catalogue(len(stored), read)


def _detection_set(path: Path) -> _Catalogue:
    """The scenes of every split of a stored detection set, one split after the other."""
    splits = [StoredDetectionSet(path, file.stem) for file in sorted((path / "splits").glob("*.txt"))]
    chosen = [(scenes, i) for scenes in splits for i in range(len(scenes))]

    def read(number: int) -> PageItem:
        scenes, i = chosen[number]
        return scene_items([scenes[i]], classes=scenes.classes, captions=[f"{scenes.split} {scenes.names[i]}"])[0]

    return _Catalogue(len(chosen), read)


def _recipe(path: Path) -> _Catalogue | PictureCatalogue:
    """Clouds, scenes or images, generated as they are asked for."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if re.search(r"^dataset\s*:", text, re.MULTILINE):
        return pictures_of_recipe(path)
    if re.search(r"^(scenes|fractals)\s*:", text, re.MULTILINE):
        scenes = FractalScenes(load(FractalScenesConfig, path))
        return _Catalogue(len(scenes), lambda i: scene_items([scenes[i]], captions=[f"scene {i}"])[0])
    clouds = open_pcfractal(load(PCFractalConfig, path))

    def read(i: int) -> PageItem:
        cloud = clouds[i]
        return PageItem(cloud.points, caption=f"category {cloud.category}, instance {cloud.instance}")

    return _Catalogue(len(clouds), read)


def _read_file(path: Path, caption: str, bin_columns: int) -> PageItem:
    try:
        return _cloud_of_file(path, caption, bin_columns)
    except (OSError, ValueError):
        raise
    except Exception as error:  # readers of broken files raise whatever they stumble over
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _cloud_of_file(path: Path, caption: str, bin_columns: int) -> PageItem:
    kind = path.suffix.lower()
    if kind in MESH_FILES:
        return _from_mesh(path, caption)
    if kind == ".bin":
        size = path.stat().st_size
        if size % (4 * bin_columns):
            raise ValueError(
                f"{path} has {size} bytes, which are not rows of {bin_columns} float32; "
                "say how many columns it has (--bin-columns)"
            )
        return _from_rows(np.fromfile(path, dtype="<f4").reshape(-1, bin_columns), caption, path)
    if kind == ".npy":
        return _from_rows(read_array(path), caption, path)
    if kind == ".npz":
        arrays = read_arrays(path)
        if "points" not in arrays:
            held = ", ".join(arrays) or "nothing"
            raise ValueError(f"{path} holds {held}; expected an array `points` [N, 3 or more]")
        boxes, colors = arrays.get("boxes"), arrays.get("colors")
        return _from_rows(arrays["points"], caption, path, boxes=boxes, colors=colors)
    raise ValueError(f"{path} is of a kind that cannot be shown; these can: {' '.join(FILE_KINDS + RECIPE_KINDS)}")


def _from_rows(rows, caption: str, path: Path, *, boxes=None, colors=None) -> PageItem:
    if rows.ndim != 2 or rows.shape[1] < 3 or not np.issubdtype(rows.dtype, np.number):
        raise ValueError(f"{path} holds {rows.dtype} of shape {rows.shape}; expected numbers [N, 3 or more]")
    if colors is None and rows.shape[1] >= 6:
        colors = rows[:, 3:6]
    return _item(rows[:, :3], caption, path, boxes=boxes, colors=colors)


def _from_mesh(path: Path, caption: str) -> PageItem:
    try:
        parts = read_geometries(path)
    except ValueError as error:  # whose sentence does not name the file
        raise ValueError(f"{path} cannot be read: {error}") from error
    if surfaces := [np.asarray(part.triangles) for part in parts if getattr(part, "area", 0) > 0]:
        corners = np.concatenate(surfaces)
        return _item(sample_surface(stream(0, "view", "surface"), corners, num_points=MESH_POINTS), caption, path)
    vertices = np.concatenate([np.zeros((0, 3)), *(part.vertices for part in parts)])
    colors = getattr(parts[0], "colors", None) if len(parts) == 1 else None
    has_colors = colors is not None and len(colors) == len(vertices)
    return _item(vertices, caption, path, colors=np.asarray(colors)[:, :3] if has_colors else None)


def _item(points, caption: str, path: Path, *, boxes=None, colors=None) -> PageItem:
    """Drop what is not finite, bring colours to bytes."""
    finite = np.isfinite(points).all(axis=1)
    missing = len(points) - int(finite.sum())
    if not finite.any():
        raise ValueError(f"{path} holds no finite points ({len(points)} in all)")
    if colors is not None:
        colors = np.nan_to_num(np.asarray(colors, dtype=np.float64))
        if colors.shape != points.shape:
            raise ValueError(f"{path} holds colors of shape {colors.shape} for points of shape {points.shape}")
        scale = 255.0 if colors.max() <= 1 else 1.0
        colors = np.clip(colors * scale, 0, 255).round().astype(np.uint8)[finite]
    return PageItem(
        np.asarray(points, dtype=np.float32)[finite],
        colors,
        boxes=np.zeros((0, 7)) if boxes is None else boxes,
        caption=f"{caption} ({missing} points not finite)" if missing else caption,
    )


def _thinned(item: PageItem, max_points: int) -> PageItem:
    if len(item.points) <= max_points:
        return item
    keep = np.sort(stream(0, "view", "thin").permutation(len(item.points))[:max_points])
    colors = None if item.colors is None else item.colors[keep]
    return replace(item, points=item.points[keep], colors=colors, num_points=len(item.points))
