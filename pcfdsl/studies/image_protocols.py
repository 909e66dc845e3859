"""How the image study measures weights: what is trained on how many pictures, and the rule that chooses the rate.

Every run, whatever its arm, is made with each of the same few rates (of a linear probe: penalties); the one that is
best on validation pictures, training pictures that nothing is trained on, is judged on the test pictures.
"""

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pcfdsl.datasets.pictures import ArrayPictures, Pictures, few_per_class
from pcfdsl.models.precision import autocast
from pcfdsl.rng import stream
from pcfdsl.samples.images import ImageDataset, ImageViewConfig, collate_images
from pcfdsl.train.loop import NonFiniteLossError, train
from pcfdsl.train.tasks.image import ImageConfig, image_task

__all__ = ["DownstreamParts", "Protocol", "at_size", "own_statistics", "parse_protocol", "split_pictures", "transfer"]

PENALTIES = (1e-3, 1e-2, 1e-1)  # of the linear probe, on standardised features
_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is trained on how many pictures.

    Attributes:
        kind: "fine": the network, shortly; "frozen": a linear classifier on its features.
        per_class: Pictures of each class.
        frozen_stages: Leading stages that are not fine-tuned; 1 is the stem.
    """

    kind: str
    per_class: int
    frozen_stages: int = 0


def parse_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ValueError: If there is none.

    >>> parse_protocol("fine20_stem2")
    Protocol(kind='fine', per_class=20, frozen_stages=3)
    """
    match = re.fullmatch(r"(fine|frozen)([1-9]\d{0,5})(?:_stem(\d))?", name)
    if match is None or (match[1] == "frozen" and match[3]):
        raise ValueError(
            f"{name!r} is no protocol; expected fineN, frozenN or fineN_stemK, with N pictures a class and the stem "
            "and K stages frozen"
        )
    return Protocol(kind=match[1], per_class=int(match[2]), frozen_stages=int(match[3]) + 1 if match[3] else 0)


@dataclass(frozen=True, kw_only=True)
class DownstreamParts:
    """The pictures of one seed, at the network's size.

    Attributes:
        train: Number of pictures a class -> training pictures; fewer are among more.
        validation: Training pictures that are in none of them.
        test: Test pictures, the same for every seed.
    """

    train: dict[int, ArrayPictures]
    validation: ArrayPictures
    test: ArrayPictures


def split_pictures(
    pictures: Pictures, test: ArrayPictures, *, counts: Sequence[int], num_validation: int, size: int, seed: int
) -> DownstreamParts:
    """Draw a seed's training and validation pictures.

    Raises:
        ValueError: If a class has too few pictures.
    """
    chosen = {count: few_per_class(pictures.labels, per_class=count, seed=seed) for count in counts}
    largest = chosen[max(counts)]
    rest = np.setdiff1d(np.arange(len(pictures.labels)), largest)
    labels = pictures.labels[rest]
    each = max(1, num_validation // len(pictures.classes))
    kept = []
    for label in range(len(pictures.classes)):
        rows = stream(seed, "validation", label).permutation(rest[labels == label])[:each]
        if not len(rows):
            raise ValueError(
                f"class {pictures.classes[label]} has no pictures left to choose rates on beside the {max(counts)} "
                "that are trained on; use protocols with fewer"
            )
        kept.append(rows)
    return DownstreamParts(
        train={count: at_size(pictures, rows, size) for count, rows in chosen.items()},
        validation=at_size(pictures, np.sort(np.concatenate(kept)), size),
        test=test,
    )


def at_size(pictures: Pictures, rows: np.ndarray, size: int) -> ArrayPictures:
    """Some pictures in memory: averaged down, or interpolated up, to a square of `size` pixels; RGB if any is."""
    images = [Image.fromarray(pictures.picture(int(row))) for row in rows]
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    resized = [
        image.convert(mode).resize(
            (size, size), Image.Resampling.BOX if min(image.size) >= size else Image.Resampling.BILINEAR
        )
        for image in images
    ]
    return ArrayPictures(np.stack([np.asarray(image) for image in resized]), pictures.labels[rows], pictures.classes)


def own_statistics(view: ImageViewConfig, pictures: ArrayPictures) -> ImageViewConfig:
    """The view normalised by the mean and deviation of these pictures, per channel."""
    images = pictures.images.reshape(*pictures.images.shape[:3], -1)
    sums, squares, count = np.zeros(images.shape[3]), np.zeros(images.shape[3]), images[..., 0].size
    for part in np.array_split(images, -(-len(images) // 1000)):
        values = part.astype(np.float64) / 255
        sums, squares = sums + values.sum((0, 1, 2)), squares + (values**2).sum((0, 1, 2))
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1e-6))
    if view.channels == 1:
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    return replace(view, mean=tuple(mean.round(6).tolist()), std=tuple(std.round(6).tolist()))


def transfer(
    protocol: Protocol, parts: DownstreamParts, config: ImageConfig, folder: Path, *, rates: Sequence[float]
) -> dict[str, float]:
    """Train by a protocol, from the weights that `config.init` names.

    Args:
        protocol: What is trained on how many pictures.
        parts: The pictures.
        config: Fine-tuning; its view is normalised by the training pictures, its learning rate replaced.
        folder: Where runs may write; it is emptied of them.
        rates: Learning rates to choose from.

    Returns:
        Test accuracy, the best validation accuracy, and the rate or penalty that it had.

    Raises:
        NonFiniteLossError: If fine-tuning diverges at every rate.
    """
    pictures = parts.train[protocol.per_class]
    config = replace(config, view=own_statistics(config.view, pictures))
    if protocol.kind == "frozen":
        return _probe(pictures, parts, config)
    return _finetune(protocol, pictures, parts, config, folder, rates)


def _finetune(
    protocol: Protocol,
    pictures: ArrayPictures,
    parts: DownstreamParts,
    config: ImageConfig,
    folder: Path,
    rates: Sequence[float],
) -> dict[str, float]:
    inputs = _inputs(parts.validation, config.view)
    best = None
    for rate in rates:
        optimizer = replace(config.train.optimizer, learning_rate=rate)
        run = replace(
            config,
            freeze_stages=protocol.frozen_stages,
            train=replace(config.train, optimizer=optimizer, evaluations=0),
        )
        task = image_task(run, pictures)
        try:
            train(task, run.train, folder / "run", overwrite=True)
        except NonFiniteLossError:
            print(f"note: at a rate of {rate} fine-tuning diverged, so it is not chosen", file=sys.stderr)
            continue
        validation = _accuracy(_outputs(task.model, inputs, run), parts.validation.labels)
        if best is None or validation > best[0]:
            best = validation, rate, task.model
    if best is None:
        tried = ", ".join(map(str, rates))
        raise NonFiniteLossError(f"fine-tuning diverged at every rate ({tried}); give lower rates")
    shutil.rmtree(folder / "run")
    test = _accuracy(_outputs(best[2], _inputs(parts.test, config.view), config), parts.test.labels)
    return {"accuracy": test, "validation": best[0], "rate": best[1]}


def _probe(pictures: ArrayPictures, parts: DownstreamParts, config: ImageConfig) -> dict[str, float]:
    model = image_task(config, pictures).model

    def pooled(images: Tensor) -> Tensor:
        return model.forward_head(model.forward_features(images), pre_logits=True)  # type: ignore[operator]

    train_x, val_x, test_x = (
        _outputs(model, _inputs(part, config.view), config, pooled) for part in (pictures, parts.validation, parts.test)
    )
    mean, std = train_x.mean(0), train_x.std(0).clamp_min(1e-6)
    train_x, val_x, test_x = ((x - mean) / std for x in (train_x, val_x, test_x))
    best = None
    for penalty in PENALTIES:
        layer = linear_classifier(train_x, torch.from_numpy(pictures.labels), len(pictures.classes), penalty=penalty)
        validation = _accuracy(layer(val_x), parts.validation.labels)
        if best is None or validation > best[0]:
            best = validation, penalty, layer
    assert best is not None
    test = _accuracy(best[2](test_x), parts.test.labels)
    return {"accuracy": test, "validation": best[0], "rate": best[1]}


def linear_classifier(
    features: Tensor, labels: Tensor, num_classes: int, *, penalty: float
) -> Callable[[Tensor], Tensor]:
    """Features [N, C] -> logits by multinomial logistic regression, from zero: no randomness.

    Args:
        features: [N, C], standardised.
        labels: [N].
        num_classes: Number of logits.
        penalty: Factor of half the squared norm of the weights, beside the mean loss.
    """
    weight = torch.zeros(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = F.cross_entropy(features @ weight.T + bias, labels) + penalty / 2 * weight.square().sum()
        value.backward()
        return value.item()

    optimizer.step(loss)
    return partial(F.linear, weight=weight.detach(), bias=bias.detach())


def _inputs(pictures: ArrayPictures, view: ImageViewConfig) -> Tensor:
    samples = ImageDataset(pictures, view=view)
    return collate_images([samples[i] for i in range(len(samples))]).images


@torch.inference_mode()
def _outputs(
    model: nn.Module, inputs: Tensor, config: ImageConfig, function: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    device = next(model.parameters()).device
    model.eval()
    with autocast(device, config.train.precision):
        parts = [(function or model)(part.to(device)).float().cpu() for part in inputs.split(_BATCH)]
    return torch.cat(parts)


def _accuracy(logits: Tensor, labels: np.ndarray) -> float:
    return float((logits.argmax(1).numpy() == labels).mean())
