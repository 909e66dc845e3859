"""The common interface of the image data sets: recipes of pictures drawn on the fly, with their categories."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

__all__ = ["ImageRecipe", "ImageSet", "LabelledImage", "arrays_of"]


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One instance of a category, drawn.

    Attributes:
        image: uint8, [H, W] grey or [H, W, 3] RGB; row 0 is the top.
        category: Index of its category, the label.
        instance: Index within the category.
        num_redraws: Degenerate pictures (diverged, or nearly blank) that were discarded before this one.
    """

    image: np.ndarray
    category: int
    instance: int
    num_redraws: int = 0


def arrays_of(item: LabelledImage) -> dict[str, np.ndarray]:
    """The fields of an item as arrays."""
    numbers = {"category": item.category, "instance": item.instance, "num_redraws": item.num_redraws}
    return {"image": item.image, **{key: np.array(number, np.int64) for key, number in numbers.items()}}


class ImageRecipe(ABC):
    """Pictures by number, for the driver of stored sets and the writers of picture files.

    Attributes:
        name: Name of the data set.
        config: Its settings.
        num_categories: How many categories there are.
        inputs: SHA-256 of what the pictures depend on besides `config`, by name, such as imported categories.
    """

    name: str
    config: Any
    num_categories: int
    inputs: Mapping[str, str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """Item `index` as stored; `image`, and `mask` if present, are pictures."""

    @abstractmethod
    def file_names(self, index: int) -> dict[str, str]:
        """Relative path, in the released layout, of each array that is a picture."""

    @abstractmethod
    def interleaved(self, index: int) -> int:
        """Number of the item at a position in an order where neighbours have different categories."""

    @abstractmethod
    def category_parameters(self, category: int) -> dict[str, np.ndarray | float]:
        """The parameters of a category."""

    def file_picture(self, picture: np.ndarray) -> np.ndarray:
        """A picture as written to files: those of the released scripts are RGB, even if grey."""
        if getattr(self.config, "variant", "native") == "released" and picture.ndim == 2:
            return np.repeat(picture[:, :, None], 3, axis=2)
        return picture


class ImageSet(ImageRecipe, Sequence[LabelledImage]):
    """Labelled pictures drawn on the fly: item i is instance i % num_instances of category i // num_instances.

    Subclasses pass their numbers of categories and instances and implement `instance`.
    """

    def __init__(self, num_categories: int, num_instances: int):
        self.inputs = {}
        self.num_categories = num_categories
        self.num_instances = num_instances

    @abstractmethod
    def instance(self, category: int, instance: int) -> LabelledImage:
        """Draw one instance of one category, a function of the configuration and these two numbers alone."""

    def file_name(self, index: int) -> str:
        """Path of item `index` in an image folder, without a suffix: the category's folder and the picture's name."""
        category, instance = divmod(self._checked(index), self.num_instances)
        return f"{category:05d}/{category:05d}_{instance:04d}"

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """Item `index` as stored: the image, and its labels and number of redraws as int64."""
        return arrays_of(self[index])

    def file_names(self, index: int) -> dict[str, str]:
        """See `ImageRecipe`."""
        return {"image": f"image/{self.file_name(index)}.png"}

    def interleaved(self, index: int) -> int:
        """See `ImageRecipe`."""
        return index % self.num_categories * self.num_instances + index // self.num_categories

    def __len__(self) -> int:
        return self.num_categories * self.num_instances

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[LabelledImage]: ...
    def __getitem__(self, index):
        """Item by its number, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.instance(*divmod(self._checked(index), self.num_instances))

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self[i] for i in range(len(self)))

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside this set of {len(self)} images")
        return index % len(self)
