"""Pictures as training samples: cropped, augmented and normalised."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pcfdsl.config import option, validate
from pcfdsl.datasets.pictures import Pictures
from pcfdsl.rng import stream
from pcfdsl.samples.batch import TensorBatch

__all__ = ["ImageAugmentConfig", "ImageBatch", "ImageDataset", "ImageViewConfig", "collate_images", "drawing_from"]


@dataclass(frozen=True, kw_only=True)
class ImageViewConfig:
    """A picture as the network sees it."""

    size: int = option(224, "side of the network's input, pixels", minimum=1, maximum=4_096)
    channels: Literal[1, 3] = option(
        3,
        "3: RGB, with grey pictures repeated; 1: grey",
    )
    mean: tuple[float, ...] = option((0.5,), "subtracted from values in 0..1: one number or one per channel")
    std: tuple[float, ...] = option((0.5,), "divisor after that: one number or one per channel", minimum=1e-6)
    crop: float = option(0.875, "evaluation: side of the central crop over that of the picture", minimum=0.01)
    interpolation: Literal["nearest", "bilinear", "bicubic"] = option("bicubic", "how pictures are resized")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                yield name, f"has {len(getattr(self, name))} values; expected 1 or {self.channels}, one per channel"


@dataclass(frozen=True, kw_only=True)
class ImageAugmentConfig:
    """Augmentation of training pictures."""

    kind: Literal["timm", "crop", "none"] = option(
        "timm", "timm: its create_transform; crop: resize, pad, crop and flip, cheaper; none: as in evaluation"
    )
    hflip: float = option(0.5, "probability of a left-right flip", minimum=0.0, maximum=1.0)
    vflip: float = option(0.0, "timm: probability of a top-bottom flip", minimum=0.0, maximum=1.0)
    resize: int | None = option(
        None, "crop: shorter side before cropping, pixels; null: no resizing", minimum=1, maximum=4_096
    )
    pad: int = option(0, "crop: zeros around the picture before cropping, pixels", minimum=0, maximum=4_096)
    scale: tuple[float, float] = option(
        (0.08, 1.0), "timm: range of a crop's share of the area", minimum=0.0, maximum=1.0
    )
    auto_augment: str | None = option(None, "timm: policy such as rand-m9-mstd0.5-inc1")
    erasing: float = option(0.0, "timm: probability that a part is replaced by noise", minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if not self.scale[0] <= self.scale[1] or self.scale[1] == 0:
            yield "scale", f"is {self.scale}; expected shares from the least to the greatest, which is above 0"


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageBatch(TensorBatch):
    """B pictures.

    Attributes:
        images: [B, C, size, size] float32, normalised.
        labels: [B] int64; or [B, M] for up to M labels each, -1 where there are fewer.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


class ImageDataset(Dataset[tuple[Tensor, Tensor]]):
    """Training or evaluation samples.

    `dataset[e, i]` is sample i of epoch e, a pure function of (pictures, settings, seed, e, i); `dataset[i]` is that of
    epoch 0.

    Args:
        pictures: Source of pictures and labels.
        view: What the network sees.
        augment: Augmentation; None, or of kind none: as in evaluation.
        seed: Seed of augmentation.
    """

    def __init__(
        self, pictures: Pictures, *, view: ImageViewConfig, augment: ImageAugmentConfig | None = None, seed: int = 0
    ):
        self.pictures, self.view, self.seed = pictures, view, seed
        kind = "none" if augment is None else augment.kind
        self._crop = augment if kind == "crop" else None
        self._drawn, self._transform = kind == "timm", _timm_transform(view, augment if kind == "timm" else None)
        channels = (view.channels, 1, 1)
        self._mean = torch.tensor(view.mean).reshape(-1, 1, 1).expand(channels)
        self._std = torch.tensor(view.std).reshape(-1, 1, 1).expand(channels)

    def __len__(self) -> int:
        return len(self.pictures.labels)

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
        """([C, size, size] float32, label); the label is int64, [] or [M]."""
        epoch, i = index if isinstance(index, tuple) else (0, index)
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of a data set of {len(self)}")
        image = Image.fromarray(self.pictures.picture(i)).convert("RGB" if self.view.channels == 3 else "L")
        if self._crop is not None:
            pixels = _cropped(image, self.view, self._crop, stream(self.seed, "picture", epoch, i))
            tensor = torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255).sub_(self._mean).div_(self._std)
        else:
            with drawing_from(stream(self.seed, "picture", epoch, i)) if self._drawn else nullcontext():
                tensor = self._transform(image)
        return tensor, torch.as_tensor(self.pictures.labels[i])


def collate_images(samples: Sequence[tuple[Tensor, Tensor]]) -> ImageBatch:
    """Stack samples into a batch."""
    images, labels = zip(*samples, strict=True)
    return ImageBatch(images=torch.stack(images), labels=torch.stack(labels))


@contextmanager
def drawing_from(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch (CPU) from `rng` in this context; restore them afterwards.

    The transforms of timm and torchvision draw from all three.
    """
    seed = int(rng.integers(2**32))
    python, legacy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.set_rng_state(torch_state)


def _timm_transform(view: ImageViewConfig, augment: ImageAugmentConfig | None) -> Callable[[Image.Image], Any]:
    from timm.data import create_transform

    common: dict[str, Any] = {
        "input_size": (view.channels, view.size, view.size),
        "interpolation": view.interpolation,
        "mean": view.mean * (view.channels // len(view.mean)),
        "std": view.std * (view.channels // len(view.std)),
    }
    if augment is None:
        return create_transform(**common, is_training=False, crop_pct=view.crop)  # type: ignore[return-value]
    return create_transform(  # type: ignore[return-value]
        **common,
        is_training=True,
        scale=augment.scale,
        ratio=(0.75, 1.3333),
        hflip=augment.hflip,
        vflip=augment.vflip,
        color_jitter=0.4,
        auto_augment=augment.auto_augment,
        re_prob=augment.erasing,
        re_mode="pixel",
    )


_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def _cropped(
    image: Image.Image, view: ImageViewConfig, augment: ImageAugmentConfig, rng: np.random.Generator
) -> np.ndarray:
    """[size, size, C] uint8: resized if set or too small, padded, cropped at random, perhaps flipped."""
    width, height = image.size
    short = augment.resize or max(min(width, height), view.size - 2 * augment.pad)
    if short != min(width, height):
        factor = short / min(width, height)
        image = image.resize((round(width * factor), round(height * factor)), _RESAMPLING[view.interpolation])
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    margin = max(augment.pad, -(-(view.size - short) // 2))
    if margin > 0:
        height, width, channels = pixels.shape
        padded = np.zeros((height + 2 * margin, width + 2 * margin, channels), np.uint8)
        padded[margin : margin + height, margin : margin + width] = pixels
        pixels = padded
    top = int(rng.integers(pixels.shape[0] - view.size + 1))
    left = int(rng.integers(pixels.shape[1] - view.size + 1))
    pixels = pixels[top : top + view.size, left : left + view.size]
    return np.array(pixels[:, ::-1] if rng.random() < augment.hflip else pixels)  # writable, as torch requires
