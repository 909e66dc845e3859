"""What can be looked at: files, folders and recipes of clouds, scenes and images, as items of a page or a sheet."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pcfdsl.config import ConfigError, load_one_of
from pcfdsl.datasets.detection_set import DetectionSet
from pcfdsl.image.sets import ImageSetConfig
from pcfdsl.pointcloud.objects import ObjectClouds, ObjectsConfig
from pcfdsl.pointcloud.pcfractal import PCFractalConfig, open_pcfractal
from pcfdsl.readers.arrays import read_array
from pcfdsl.readers.clouds import cloud_files
from pcfdsl.readers.folders import files_in, has_ending
from pcfdsl.readers.hints import scan_hints, summarize_notes
from pcfdsl.readers.pictures import PICTURE_FILES
from pcfdsl.recipes import find_recipe
from pcfdsl.scene.boxes import Scene
from pcfdsl.scene.config import FractalScenesConfig, ObjectScenesConfig
from pcfdsl.scene.synthesize import FractalScenes, ObjectScenes
from pcfdsl.store.manifest import read_manifest
from pcfdsl.store.pictures import decode_png
from pcfdsl.store.stored import open_set
from pcfdsl.view.clouds import FILE_KINDS, item_of_file, points_item
from pcfdsl.view.page import PageItem, Picture, Section, Viewer, thinned, write_page, write_report
from pcfdsl.view.pictures import (
    Catalogue,
    fit,
    picture_of_file,
    pictures_of_folder,
    pictures_of_recipe,
    pictures_of_set,
)
from pcfdsl.view.render import BOX_COLOR, TRUTH_COLOR, render_points
from pcfdsl.view.scenes import scene_items
from pcfdsl.view.sheet import contact_sheet

__all__ = ["load_items", "load_shown", "noun_of", "render_items", "spread", "write_items"]

RECIPE_KINDS = (".yaml", ".yml")
RECIPES = (PCFractalConfig, FractalScenesConfig, ObjectsConfig, ObjectScenesConfig, ImageSetConfig)


def load_items(
    path: str | Path, *, num_items: int = 64, max_points: int = 50_000, bin_columns: int = 6
) -> list[PageItem]:
    """The clouds or scenes under a path; arguments and errors as for `load_shown`.

    Raises:
        ValueError: Also if there are pictures instead.
    """
    found = load_shown(path, num_items=num_items, max_points=max_points, bin_columns=bin_columns)
    items = [item for item in found if isinstance(item, PageItem)]
    if not items:
        raise ValueError(f"{path} holds pictures; expected clouds or scenes")
    return items


def load_shown(
    path: str | Path, *, num_items: int = 64, max_points: int = 50_000, bin_columns: int = 6
) -> list[PageItem | Picture]:
    """Clouds or pictures found under a path: at most `num_items`, evenly spread over all of them.

    | path | becomes |
    | --- | --- |
    | .ply .obj .off .stl .glb | the points, or 20,000 points drawn on the surface by area |
    | .npy | [N, 3 or more], or [S, N, 3 or more] as S clouds |
    | .npz | array `points` [N, 3 or more], with optional `boxes` [K, 7] and `colors` [N, 3] |
    | .bin | float32 rows of `bin_columns`; x y z and, from six columns on, red green blue |
    | .yaml, or the name of a recipe | the clouds, scenes or images of a recipe, recognised by its keys |
    | .png .jpg and other pictures | that picture |
    | folder of a generated set | its clouds, scenes, or images, with any masks except of a folder of files |
    | folder of a detection set | the scenes of all its splits, with their boxes |
    | any other folder | all files of these kinds below it, by name, except recipes; without clouds, its pictures or \
tars of pictures |

    Columns 3 to 5 of an array are colours, 0 to 1 or 0 to 255. Points that are not finite are dropped, which the
    caption says; larger clouds are subsampled to `max_points`, always the same ones.

    Raises:
        FileNotFoundError: If the path does not exist.
        ConfigError: If a recipe has problems.
        ValueError: If there is nothing to show, or a file does not hold what its name promises.
    """
    catalogue = _catalogue(Path(path), bin_columns)
    if catalogue.num_items == 0:
        raise ValueError(f"{path} holds no clouds or pictures; expected {' '.join(FILE_KINDS + PICTURE_FILES)}")
    items, notes, errors = [], {}, []
    for i in tqdm(spread(catalogue.num_items, num_items), desc="reading", unit="item", disable=None):
        try:
            item = catalogue.read(i)
        except (OSError, ValueError) as error:  # one bad file among many costs only itself
            errors.append(error)
            continue
        if isinstance(item, PageItem):
            is_scan = Path(path).is_file() and catalogue.num_items == 1
            notes[item.caption] = (*item.notes, *(scan_hints(item.points) if is_scan else ()))
            item = thinned(item, max_points)
        items.append(item)
    if not items:
        raise errors[0]
    for line in (*map(str, errors), *summarize_notes(notes, num_items=len(items))):
        print(f"note: {line}", file=sys.stderr)
    return items


def spread(num_items: int, num_chosen: int) -> list[int]:
    """At most `num_chosen` of the indices below `num_items`, evenly.

    >>> spread(10, 3)
    [0, 3, 6]
    """
    num_chosen = min(num_items, num_chosen)
    return [k * num_items // num_chosen for k in range(num_chosen)]


def write_items(
    path: str | Path, items: Sequence[PageItem | Picture], *, title: str, below: Sequence[Section] = ()
) -> Path:
    """Write one self-contained HTML file: a viewer of clouds, or a column of pictures, and any sections below it."""
    pictures = [item for item in items if isinstance(item, Picture)]
    clouds = [item for item in items if isinstance(item, PageItem)]
    heading = f"{len(items)} {noun_of(items)}"
    if pictures:
        return write_report(path, [Section(heading, pictures), *below], title=title)
    if below:
        return write_report(path, [Section(heading, [Viewer(clouds)]), *below], title=title)
    return write_page(path, clouds, title=title)


def noun_of(items: Sequence[PageItem | Picture]) -> str:
    """What to call the items: pictures, scenes (clouds with boxes) or clouds."""
    if all(isinstance(item, Picture) for item in items):
        return "pictures"
    return "scenes" if any(isinstance(item, PageItem) and len(item.boxes) for item in items) else "clouds"


def render_items(
    items: Sequence[PageItem | Picture], *, size: tuple[int, int] = (320, 280), columns: int | None = None
) -> np.ndarray:
    """Contact sheet of the items with their captions: [height, width, 3] uint8.

    Clouds with several boxes are rooms: their near sides are cut open. Where the truth is known it is green, and what
    was found is red.
    """
    pictures, captions = [], []
    for item in items:
        captions.append(item.caption)
        if isinstance(item, Picture):
            image = item.image if isinstance(item.image, np.ndarray) else decode_png(item.image)
            pictures.append(fit(image, max(size) if image.shape[0] == image.shape[1] else 2 * max(size)))
            continue
        boxes, box_colors = item.boxes, item.box_colors
        if len(item.truth_boxes):
            boxes = np.concatenate([item.truth_boxes, item.boxes])
            each = (len(item.truth_boxes), len(item.boxes))
            box_colors = np.repeat(np.array([TRUTH_COLOR, BOX_COLOR], np.uint8), each, axis=0)
        how = {"boxes": boxes, "box_colors": box_colors, "open_sides": len(boxes) > 1}
        pictures.append(render_points(item.points, colors=item.colors, size=size, **how))
    return contact_sheet(pictures, captions, columns=columns)


def _catalogue(path: Path, bin_columns: int) -> Catalogue:
    """What a path is, case by case."""
    if not path.exists():
        path = find_recipe(path)
    if (path / "manifest.json").is_file():
        return _generated(path)
    if (path / "set.json").is_file():
        return _detection_set(path)
    if path.is_dir():
        files = cloud_files(path)
        if not files:
            return pictures_of_folder(path)
        return Catalogue(
            len(files), lambda i: item_of_file(files[i], str(files[i].relative_to(path)), bin_columns=bin_columns)
        )
    if has_ending(path, PICTURE_FILES):
        return Catalogue(1, lambda _: picture_of_file(path, path.name))
    if has_ending(path, (".npy",)):
        array = read_array(path)
        if array.ndim == 3:
            return Catalogue(len(array), lambda i: points_item(array[i], f"{path.stem} {i}", path))
    if has_ending(path, RECIPE_KINDS):
        return _recipe(path)
    return Catalogue(1, lambda _: item_of_file(path, path.name, bin_columns=bin_columns))


def _generated(path: Path) -> Catalogue:
    """A set that the driver wrote: of scenes, images, or clouds."""
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
    return Catalogue(len(stored), read)


def _detection_set(path: Path) -> Catalogue:
    """The scenes of every split of a detection set, split by split."""
    splits = [DetectionSet(path, file.stem) for file in files_in(path / "splits", (".txt",))]
    chosen = [(scenes, i) for scenes in splits for i in range(len(scenes))]

    def read(number: int) -> PageItem:
        scenes, i = chosen[number]
        return scene_items([scenes[i]], classes=scenes.classes, captions=[f"{scenes.split} {scenes.names[i]}"])[0]

    return Catalogue(len(chosen), read)


def _recipe(path: Path) -> Catalogue:
    """Clouds, scenes or images, generated when they are read."""
    config = _load_recipe(path)
    if isinstance(config, ImageSetConfig):
        return pictures_of_recipe(config)
    if isinstance(config, FractalScenesConfig | ObjectScenesConfig):
        scenes = FractalScenes(config) if isinstance(config, FractalScenesConfig) else ObjectScenes(config)
        return Catalogue(len(scenes), lambda i: scene_items([scenes[i]], captions=[f"scene {i}"])[0])
    clouds = ObjectClouds(config) if isinstance(config, ObjectsConfig) else open_pcfractal(config)

    def read(i: int) -> PageItem:
        cloud = clouds[i]
        return PageItem(cloud.points, caption=f"category {cloud.category}, instance {cloud.instance}")

    return Catalogue(len(clouds), read)


def _load_recipe(
    path: Path,
) -> PCFractalConfig | FractalScenesConfig | ObjectsConfig | ObjectScenesConfig | ImageSetConfig:
    """A recipe of whichever kind the file is."""
    try:
        return load_one_of(RECIPES, path)
    except ConfigError as error:
        if any(key == "train" for key, _ in error.problems):
            expected = "clouds, scenes or pictures, such as scene/formulas"
            raise ValueError(f"{path} is the recipe of a training; expected one of {expected}") from None
        raise
