"""What every image data set gives: a picture and the formula that it came from."""

from dataclasses import dataclass

import numpy as np

__all__ = ["LabelledImage"]


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One instance of a category, drawn.

    Attributes:
        image: uint8, [H, W] grey or [H, W, 3] RGB; row 0 is the top.
        category: Index of its category, the label.
        instance: Index within the category.
    """

    image: np.ndarray
    category: int
    instance: int
