"""Pictures of what image networks learned: first filters, position embeddings, attention maps and distances."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from pcfdsl.datasets.pictures import ArrayPictures
from pcfdsl.evaluate.vit import (
    attention_maps,
    attention_reach,
    first_filters,
    is_plain,
    patch_grid,
    position_similarity,
)
from pcfdsl.infer.image import ImageClassifier, load_image_classifier
from pcfdsl.readers.pictures import read_picture
from pcfdsl.samples.images import ImageDataset, ImageViewConfig
from pcfdsl.store.atomic import make_folder
from pcfdsl.train.tasks.image_model import create_network
from pcfdsl.view.charts import line_chart
from pcfdsl.view.page import Picture, Section, write_report
from pcfdsl.view.sheet import contact_sheet, save_png

__all__ = ["analyze_networks", "attention_overlay", "filter_sheet", "similarity_sheet"]

_TALL = 128


def analyze_networks(runs: Mapping[str, str | Path], pictures: Sequence[str | Path], out: str | Path) -> list[Path]:
    """Write PNG files and a `report.html` on trained networks; attention distances are compared with untrained ones.

    Networks other than ViTs with learned absolute positions get only their filters.

    Args:
        runs: Name -> a run's folder or weights file.
        pictures: Picture files to show attention on; attention distances are averaged over them.
        out: Output folder, created if needed.

    Returns:
        The files written.

    Raises:
        OSError, ValueError: If a network or a picture cannot be read.
    """
    bad = [name for name in runs if not name or "/" in name]
    if bad:
        raise ValueError(f"{bad[0]!r} cannot be a name, as file names start with it; expected text without slashes")
    out = make_folder(out)
    images = [np.array(Image.fromarray(read_picture(path)).convert("RGB")) for path in pictures]
    sections, files = [], []
    for name, path in runs.items():
        trained = load_image_classifier(path, device="cpu")
        shown = {"filters": filter_sheet(trained.model), "filters_grey": filter_sheet(trained.model, grey=True)}
        charts = {}
        if is_plain(trained.model):
            shown["positions"] = similarity_sheet(trained.model)
            if images:
                shown["attention"] = attention_overlay(trained, images)
                charts["reach"] = _reach_chart(trained, images)
        for kind, image in shown.items():
            files.append(save_png(out / f"{name}_{kind}.png", image))
        for kind, content in charts.items():
            files.append(out / f"{name}_{kind}.png")
            files[-1].write_bytes(content)
        blocks = [Picture(image, _CAPTIONS[kind]) for kind, image in {**shown, **charts}.items()]
        sections.append(Section(f"{name}: {trained.config.model.name}, {trained.step} steps", blocks))
    files.append(write_report(out / "report.html", sections, title="What the networks learned"))
    return files


_CAPTIONS = {
    "filters": "First filters in order of norm, each scaled to its own range.",
    "filters_grey": "The same, summed over channels: all that training on grey pictures can determine.",
    "positions": "Position embeddings: cosine similarity of each patch to all patches (blue -1, white 0, red 1).",
    "attention": "Pictures, and the last block's attention of the class token or else of all patches: mean over heads.",
    "reach": "Attention distance per block: mean over heads, with a band of one standard deviation.",
}


def filter_sheet(model: nn.Module, *, grey: bool = False, most: int = 64) -> np.ndarray:
    """The first-layer filters with the largest norms, enlarged: [H, W, 3] uint8. `grey` sums over channels."""
    filters = first_filters(model)
    filters = filters.sum(1, keepdim=True) if grey else filters
    order = filters.flatten(1).norm(dim=1).argsort(descending=True)[:most]
    shown = []
    for weights in filters[order]:
        image = weights.expand(3, -1, -1) if len(weights) == 1 else weights[:3]
        low, high = image.min(), image.max()
        levels = ((image - low) / (high - low).clamp(min=1e-12) * 255).round().byte().permute(1, 2, 0).numpy()
        shown.append(_enlarged(levels, 48))
    return contact_sheet(shown, columns=16, gap=4)


def similarity_sheet(model: nn.Module) -> np.ndarray:
    """A similarity map for each patch, arranged like the patches: [H, W, 3] uint8."""
    similarity = position_similarity(model).numpy()
    height, width = patch_grid(model)
    shown = [_enlarged(_diverging(row.reshape(height, width)), 48) for row in similarity]
    return contact_sheet(shown, columns=width, gap=4)


def attention_overlay(trained: ImageClassifier, images: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures above heat maps of the last block's attention: [H, W, 3] uint8.

    Attention of the class token if there is one, else the mean over all patches.
    """
    inputs = _inputs(images, trained.config.view)
    attention = attention_maps(trained.model, inputs)[-1].mean(1)
    height, width = patch_grid(trained.model)
    num_patches = height * width
    own = attention[:, 0] if attention.shape[-1] > num_patches else attention.mean(1)
    shown, below = [], []
    for image, weights in zip(inputs, own[:, -num_patches:], strict=True):
        mean, std = (
            torch.tensor(value).reshape(-1, 1, 1) for value in (trained.config.view.mean, trained.config.view.std)
        )
        levels = ((image * std + mean).clamp(0, 1) * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy()
        shown.append(_enlarged(levels, _TALL))
        share = (weights / weights.max()).reshape(height, width).numpy()
        mask = Image.fromarray((share * 255).astype(np.uint8)).resize(shown[-1].shape[1::-1], Image.Resampling.BILINEAR)
        below.append(_heat(np.asarray(mask) / 255))
    return contact_sheet([*shown, *below], columns=len(images), gap=4)


def _reach_chart(trained: ImageClassifier, images: Sequence[np.ndarray]) -> bytes:
    config = trained.config
    torch.manual_seed(0)
    untrained = create_network(
        config.model, size=config.view.size, channels=config.view.channels, num_classes=len(trained.classes)
    ).eval()
    inputs, grid = _inputs(images, config.view), patch_grid(trained.model)
    curves = {
        name: attention_reach(attention_maps(model, inputs), grid, patch_size=config.view.size / grid[0]).numpy().T
        for name, model in (("trained", trained.model), ("untrained", untrained))
    }
    blocks = np.arange(1, len(next(iter(curves.values())).T) + 1)
    return line_chart(curves, x=blocks, x_label="block", y_label="pixels", title="mean attention distance")


def _inputs(images: Sequence[np.ndarray], view: ImageViewConfig) -> torch.Tensor:
    samples = [ImageDataset(ArrayPictures(image[None], np.zeros(1, np.int64)), view=view)[0][0] for image in images]
    return torch.stack(samples)


def _enlarged(image: np.ndarray, size: int) -> np.ndarray:
    factor = max(1, size // image.shape[0])
    return image.repeat(factor, 0).repeat(factor, 1)


def _diverging(values: np.ndarray) -> np.ndarray:
    """-1 blue, 0 white, 1 red."""
    red, blue = np.array([178.0, 24, 43]), np.array([33.0, 102, 172])
    end = np.where(values[..., None] >= 0, red, blue)
    return (255 + (end - 255) * np.abs(values[..., None]).clip(0, 1)).round().astype(np.uint8)


def _heat(values: np.ndarray) -> np.ndarray:
    """0 black, then red and yellow, to 1 white."""
    return (255 * np.stack([(3 * values - k).clip(0, 1) for k in range(3)], -1)).round().astype(np.uint8)
