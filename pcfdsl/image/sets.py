"""Image sets by name: one configuration for all of them, and functions to open it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pcfdsl.config import ConfigError, check_argument, option, validate
from pcfdsl.formula.ifs import IFS
from pcfdsl.image.baselines import Bezier, BezierConfig, Perlin, PerlinConfig
from pcfdsl.image.dead_leaves import DeadLeaves, DeadLeavesConfig
from pcfdsl.image.exfractaldb import ExFractalDB, ExFractalDBConfig
from pcfdsl.image.fractaldb import FractalDBConfig, open_fractaldb
from pcfdsl.image.labelled import ImageRecipe, ImageSet
from pcfdsl.image.moire import Moire, MoireConfig
from pcfdsl.image.multi_fractal import MultiFractal, MultiFractalConfig
from pcfdsl.image.rcdb import RCDBConfig, open_rcdb
from pcfdsl.image.segrcdb import SegRCDB, SegRCDBConfig
from pcfdsl.image.spectrum import Spectrum, SpectrumConfig
from pcfdsl.image.visualatom import VisualAtomConfig, open_visualatom

__all__ = ["FRACTAL_SETS", "ImageSetConfig", "ImageSetName", "open_images", "open_labelled_images"]

ImageSetName = Literal[
    "fractaldb",
    "exfractaldb",
    "multi_fractal",
    "rcdb",
    "visualatom",
    "segrcdb",
    "bezier",
    "perlin",
    "dead_leaves",
    "spectrum",
    "moire",
]
FRACTAL_SETS = ("fractaldb", "exfractaldb", "multi_fractal")


@dataclass(frozen=True, kw_only=True)
class ImageSetConfig:
    """The chosen set and its settings; those of other sets are ignored."""

    dataset: ImageSetName = option("fractaldb", "the set; segrcdb has masks, multi_fractal several labels a picture")
    seed: int | None = option(None, "root of every random decision, in place of the chosen set's own")
    fractaldb: FractalDBConfig = option(FractalDBConfig(), "2D fractals")
    exfractaldb: ExFractalDBConfig = option(ExFractalDBConfig(), "3D fractals from random viewpoints, or MV-FractalDB")
    multi_fractal: MultiFractalConfig = option(MultiFractalConfig(), "several coloured 2D fractals in one image")
    rcdb: RCDBConfig = option(RCDBConfig(), "radial contours")
    visualatom: VisualAtomConfig = option(VisualAtomConfig(), "radial contours with sinusoids")
    segrcdb: SegRCDBConfig = option(SegRCDBConfig(), "many radial contours in one image, with masks")
    bezier: BezierConfig = option(BezierConfig(), "Bezier curves")
    perlin: PerlinConfig = option(PerlinConfig(), "Perlin noise")
    dead_leaves: DeadLeavesConfig = option(DeadLeavesConfig(), "shapes on top of one another")
    spectrum: SpectrumConfig = option(SpectrumConfig(), "noise with a power law of the frequency")
    moire: MoireConfig = option(MoireConfig(), "interference of two fringe patterns")

    def __post_init__(self):
        validate(self)

    @property
    def chosen(self) -> Any:
        """Settings of the chosen set."""
        settings = getattr(self, self.dataset)
        return settings if self.seed is None else replace(settings, seed=self.seed)


def open_labelled_images(config: ImageSetConfig) -> ImageSet:
    """Open the chosen set, whose images must have one label each.

    Raises:
        ConfigError: If they have masks or several labels instead.
    """
    images = open_images(config)
    if not isinstance(images, ImageSet):
        what = "masks, not labels" if isinstance(images, SegRCDB) else "several labels an image"
        raise ConfigError([("dataset", f"{config.dataset} has {what}; choose another data set")])
    return images


def open_images(config: ImageSetConfig, categories: Sequence[IFS] | None = None) -> ImageRecipe:
    """Open the chosen set of images, which are generated on the fly.

    Args:
        config: Which one.
        categories: For fractals: existing systems. Searched for on first use if None.

    Raises:
        ConfigError: If the chosen set does not accept the categories.

    >>> db = open_images(ImageSetConfig(dataset="rcdb", rcdb=RCDBConfig(num_categories=2, num_instances=3)))
    >>> len(db), db[4].category
    (6, 1)
    """
    check_argument("config", config, ImageSetConfig)
    if config.dataset in FRACTAL_SETS:
        return _FRACTALS[config.dataset](config.chosen, categories)
    if categories is not None:
        raise ConfigError([("dataset", f"{config.dataset} has no systems of maps; only {', '.join(FRACTAL_SETS)} do")])
    return _OTHERS[config.dataset](config.chosen)


_FRACTALS: dict[str, Callable[[Any, Sequence[IFS] | None], ImageRecipe]] = {
    "fractaldb": open_fractaldb,
    "exfractaldb": ExFractalDB,
    "multi_fractal": MultiFractal,
}
_OTHERS: dict[str, Callable[[Any], ImageRecipe]] = {
    "rcdb": open_rcdb,
    "segrcdb": SegRCDB,
    "visualatom": open_visualatom,
    "bezier": Bezier,
    "perlin": Perlin,
    "dead_leaves": DeadLeaves,
    "spectrum": Spectrum,
    "moire": Moire,
}
