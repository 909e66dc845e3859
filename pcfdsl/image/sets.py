"""Any image set by its name: one configuration that holds them all, and what opens it."""

from dataclasses import dataclass
from typing import Any, Literal

from pcfdsl.config import option, validate
from pcfdsl.image.baselines import Bezier, BezierConfig, Perlin, PerlinConfig
from pcfdsl.image.exfractaldb import ExFractalDB, ExFractalDBConfig
from pcfdsl.image.fractaldb import FractalDB, FractalDBConfig
from pcfdsl.image.labelled import ImageSet
from pcfdsl.image.rcdb import RCDBConfig, open_rcdb
from pcfdsl.image.visualatom import VisualAtomConfig, open_visualatom

__all__ = ["ImageSetConfig", "ImageSetName", "open_images"]

ImageSetName = Literal["fractaldb", "exfractaldb", "rcdb", "visualatom", "bezier", "perlin"]


@dataclass(frozen=True, kw_only=True)
class ImageSetConfig:
    """Which set, and its settings; those of the others are not looked at."""

    dataset: ImageSetName = option("fractaldb", "The set.")
    fractaldb: FractalDBConfig = option(FractalDBConfig(), "2D fractals.")
    exfractaldb: ExFractalDBConfig = option(ExFractalDBConfig(), "3D fractals from random viewpoints, or MV-FractalDB.")
    rcdb: RCDBConfig = option(RCDBConfig(), "Radial contours.")
    visualatom: VisualAtomConfig = option(VisualAtomConfig(), "Radial contours with sinusoids.")
    bezier: BezierConfig = option(BezierConfig(), "Bezier curves.")
    perlin: PerlinConfig = option(PerlinConfig(), "Perlin noise.")

    def __post_init__(self):
        validate(self)

    @property
    def chosen(self) -> Any:
        """Settings of the chosen set."""
        return getattr(self, self.dataset)


def open_images(config: ImageSetConfig) -> ImageSet:
    """The chosen set; nothing is generated before it is asked for.

    >>> db = open_images(ImageSetConfig(dataset="rcdb", rcdb=RCDBConfig(num_categories=2, num_instances=3)))
    >>> len(db), db[4].category
    (6, 1)
    """
    return _SETS[config.dataset](config.chosen)


_SETS = {
    "fractaldb": FractalDB,
    "exfractaldb": ExFractalDB,
    "rcdb": open_rcdb,
    "visualatom": open_visualatom,
    "bezier": Bezier,
    "perlin": Perlin,
}
