"""Pictures as self-supervised training sees them: random views, or the shuffled tiles of one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pcfdsl.config import Settings, option
from pcfdsl.datasets.pictures import Pictures
from pcfdsl.rng import stream
from pcfdsl.samples.batch import TensorBatch
from pcfdsl.samples.images import ImageViewConfig, drawing_from

__all__ = ["PictureViews", "Tiles", "ViewBatch", "ViewsConfig", "collate_views", "far_permutations"]

_GAP = 75 / 64  # a tile is cut out of a cell that is larger by this (Noroozi & Favaro 2016), so that edges do not match


@dataclass(frozen=True, kw_only=True)
class ViewsConfig(Settings):
    """How a view of a picture is made; the defaults are MoCo v2's."""

    min_scale: float = option(0.2, "least share of the area that a view is cropped to", minimum=1e-3, maximum=1.0)
    hflip: float = option(0.5, "probability of a left-right flip", minimum=0.0, maximum=1.0)
    recolor: float = option(
        0.5,
        "strength of changes of colour, of four views in five; 1 is SimCLR's, 0 none",
        minimum=0.0,
        maximum=1.0,
    )
    grey: float = option(0.2, "probability that colours are dropped", minimum=0.0, maximum=1.0)
    blur: float = option(0.5, "probability of a Gaussian blur", minimum=0.0, maximum=1.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class ViewBatch(TensorBatch):
    """B pictures in V views each.

    Attributes:
        views: [B, V, C, size, size] float32, normalised.
        labels: [B] int64: what the method asks of them, such as the permutation of tiles.
    """

    views: Tensor
    labels: Tensor


class PictureViews(Dataset[tuple[Tensor, int]]):
    """Random views of pictures.

    `dataset[e, i]` are the views of picture i in epoch e, each drawn after the other from the sample's own stream: a
    pure function of (pictures, settings, seed, e, i).

    Args:
        pictures: Source of pictures; their labels are not looked at.
        view: What the network sees.
        augment: How a view is made.
        num_views: Views of each picture.
        seed: Seed of the views.
    """

    def __init__(
        self, pictures: Pictures, *, view: ImageViewConfig, augment: ViewsConfig, num_views: int = 1, seed: int = 0
    ):
        self.pictures, self.view, self.num_views, self.seed = pictures, view, num_views, seed
        self._transform = _transform(view, augment, size=self._side())

    def __len__(self) -> int:
        return len(self.pictures.labels)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        """([V, C, size, size] float32, 0)."""
        epoch, i = key
        return self.views(i, stream(self.seed, "views", epoch, i)), 0

    def views(self, row: int, rng: np.random.Generator) -> Tensor:
        """[V, C, size, size] float32: views of one picture."""
        picture = Image.fromarray(self.pictures.picture(row)).convert("RGB" if self.view.channels == 3 else "L")
        with drawing_from(rng):
            return torch.stack([self._transform(picture) for _ in range(self.num_views)])

    def _side(self) -> int:
        return self.view.size


class Tiles(PictureViews):
    """The nine tiles of a view in one of the given orders, each normalised by itself; `view.size` is a tile's side.

    Args:
        permutations: [P, 9] orders of the tiles; the label is which of them.
        others: As for `PictureViews`.
    """

    def __init__(self, pictures: Pictures, *, permutations: np.ndarray, **others: Any):
        super().__init__(pictures, **others)
        self.permutations = permutations

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        """([9, C, size, size] float32, index of the permutation)."""
        epoch, i = key
        rng = stream(self.seed, "views", epoch, i)
        (whole,) = self.views(i, rng)
        size, cell = self.view.size, self._side() // 3
        top, left = rng.integers(cell - size + 1, size=(2, 9))
        tiles = torch.stack(
            [
                whole[:, y : y + size, x : x + size]
                for k in range(9)
                for y, x in [(k // 3 * cell + int(top[k]), k % 3 * cell + int(left[k]))]
            ]
        )
        # Brightness and contrast of a tile would give its place away; the constant keeps empty tiles of fractals empty.
        tiles = (tiles - tiles.mean((1, 2, 3), keepdim=True)) / (tiles.std((1, 2, 3), keepdim=True) + 0.01)
        label = int(rng.integers(len(self.permutations)))
        return tiles[torch.from_numpy(self.permutations[label])], label

    def _side(self) -> int:
        return 3 * round(self.view.size * _GAP)


def collate_views(samples: Sequence[tuple[Tensor, int]]) -> ViewBatch:
    """Stack samples into a batch."""
    views, labels = zip(*samples, strict=True)
    return ViewBatch(views=torch.stack(views), labels=torch.tensor(labels))


@lru_cache(maxsize=4)
def far_permutations(num: int) -> np.ndarray:
    """[num, 9] orders of nine tiles, each next one as far as possible from those before it.

    Greedy, from the identity: of all permutations the one whose least Hamming distance to the chosen ones is greatest,
    then the one with the greatest sum of distances, then the first. Of 100 any two differ in 6 places at least, of
    1,000 in 5.

    >>> far_permutations(2)
    array([[0, 1, 2, 3, 4, 5, 6, 7, 8],
           [1, 0, 3, 2, 5, 4, 7, 8, 6]])
    """
    everyone = np.array(list(itertools.permutations(range(9))), np.uint8).T.copy()
    least = np.full(everyone.shape[1], 9, np.int64)
    total = np.zeros_like(least)
    chosen = [0]
    while len(chosen) < num:
        distance = (everyone != everyone[:, chosen[-1], None]).sum(0)
        np.minimum(least, distance, out=least)
        total += distance
        chosen.append(int(np.argmax(least * 9 * (num + 1) + total)))
    return everyone[:, chosen].T.astype(np.int64)


def _transform(view: ImageViewConfig, augment: ViewsConfig, *, size: int) -> Any:
    from lightly.transforms.simclr_transform import SimCLRViewTransform  # of the extra [ssl]

    repeat = view.channels // len(view.mean), view.channels // len(view.std)
    return SimCLRViewTransform(
        input_size=size,
        cj_strength=augment.recolor,
        min_scale=augment.min_scale,
        random_gray_scale=augment.grey,
        gaussian_blur=augment.blur,
        hf_prob=augment.hflip,
        normalize={"mean": [*view.mean] * repeat[0], "std": [*view.std] * repeat[1]},
    )
