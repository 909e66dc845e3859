"""Image sets as recipes for the driver: their categories, and their images or pairs of image and mask."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcfdsl.config import option
from pcfdsl.formula.csv_io import format_ifs
from pcfdsl.formula.ifs import IFS
from pcfdsl.image.segrcdb import SegRCDB
from pcfdsl.image.sets import ImageSetConfig, open_images

__all__ = ["ImageCategoryRecipe", "ImageRecipe", "ImportedImageCategoryRecipe", "PairRecipe", "systems_checksum"]


class ImageCategoryRecipe:
    """Recipe whose sample k is what defines category k, found by search where the set is one of fractals."""

    def __init__(self, config: ImageSetConfig):
        self.config = config.chosen
        self.name = f"{config.dataset}_categories"
        self._images = SegRCDB(config.chosen) if config.dataset == "segrcdb" else open_images(config)

    def __len__(self) -> int:
        return self._images.num_categories

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The category's parameters."""
        return {key: np.asarray(value) for key, value in self._images.category_parameters(index).items()}


@dataclass(frozen=True, kw_only=True)
class ImportedImageCategoriesConfig:
    """The settings of categories that were not searched for: none but their number."""

    num_categories: int = option(1, "Categories.", minimum=1)


class ImportedImageCategoryRecipe:
    """Recipe whose sample k is a system given."""

    def __init__(self, dataset: str, systems: Sequence[IFS]):
        self.name = f"{dataset}_imported_categories"
        self.config = ImportedImageCategoriesConfig(num_categories=len(systems))
        self.inputs = {"categories": systems_checksum(systems)}
        self._systems = list(systems)

    def __len__(self) -> int:
        return len(self._systems)

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The system."""
        ifs = self._systems[index]
        return {"matrices": ifs.matrices, "offsets": ifs.offsets, "probabilities": ifs.probabilities}


class ImageRecipe:
    """Recipe whose sample i is image i of a set.

    Args:
        config: The set.
        categories: Its systems, where it is one of fractals.
        imported: Whether these came from outside; their checksum is then part of what the set is made from.
    """

    def __init__(self, config: ImageSetConfig, categories: Sequence[IFS] | None = None, *, imported: bool = False):
        self.config = config.chosen
        self.name = config.dataset
        self.inputs = {"categories": systems_checksum(categories)} if imported and categories else {}
        self._images = open_images(config, categories)

    def __len__(self) -> int:
        return len(self._images)

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The image, its labels, the degenerate ones given up before it; of ExFractalDB its cloud if asked."""
        return self._images.arrays(index)

    def file_names(self, index: int) -> dict[str, str]:
        """Where the arrays that are pictures go in an image folder, in the published way."""
        return {"image": f"image/{self._images.file_name(index)}.png"}

    def file_picture(self, picture: np.ndarray) -> np.ndarray:
        """An image as its file holds it: those of the released scripts are RGB, their greys too."""
        if getattr(self.config, "variant", "native") == "official" and picture.ndim == 2:
            return np.repeat(picture[:, :, None], 3, axis=2)
        return picture

    def interleaved(self, index: int) -> int:
        """Number of the sample at a place in an order in which neighbours are of different categories."""
        return index % self._images.num_categories * self._images.num_instances + index // self._images.num_categories


class PairRecipe:
    """Recipe whose sample i is pair i of a SegRCDB: image and mask."""

    name = "segrcdb"

    def __init__(self, config: ImageSetConfig):
        self.config = config.chosen
        self.inputs: dict[str, str] = {}
        self._pairs = SegRCDB(config.chosen)

    def __len__(self) -> int:
        return len(self._pairs)

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The image and its mask."""
        pair = self._pairs[index]
        return {"image": pair.image, "mask": pair.mask}

    def file_names(self, index: int) -> dict[str, str]:
        """Where the arrays go in a folder, in the published way."""
        name = self._pairs.file_name(index)
        return {"image": f"image/{name}.png", "mask": f"mask/{name}.png"}

    def file_picture(self, picture: np.ndarray) -> np.ndarray:
        """An image or a mask as its file holds it: as it is."""
        return picture

    def interleaved(self, index: int) -> int:
        """The same number: pairs are of all categories."""
        return index


def systems_checksum(systems: Sequence[IFS]) -> str:
    """SHA-256 (hex) of systems."""
    return hashlib.sha256("\n".join(map(format_ifs, systems)).encode()).hexdigest()
