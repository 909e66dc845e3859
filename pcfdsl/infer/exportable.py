"""What of a trained network goes into a file for others: a module of one tensor, names, and what they mean."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pcfdsl
from pcfdsl.checkpoints.older import current_settings
from pcfdsl.checkpoints.run_folder import Checkpoint, load_checkpoint, settings_digest
from pcfdsl.infer.detector import Detector, load_detector
from pcfdsl.models.decode import decode_boxes
from pcfdsl.models.votenet import VoteNetConfig
from pcfdsl.rng import stream
from pcfdsl.samples.detection import PointsConfig, collate, scene_samples
from pcfdsl.scene.boxes import Scene

__all__ = ["Exportable", "load_exportable"]

_NUM_EXAMPLES = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Exportable:
    """A network as others run it.

    Attributes:
        module: One tensor -> the outputs; in evaluation mode, on the CPU.
        input: Name of its input.
        outputs: Names of its outputs.
        examples: Inputs of one shape, on which a file is compared with the network.
        any_batch: Whether a file takes any number of items at once; if not, one.
        row_dims: Leading dimensions of the outputs that count what is predicted: pictures, or proposals of rooms.
        undecided: Share of the rows of a batch that rounding alone may decide otherwise; see `export.compare`.
        about: What a file says of itself.
    """

    module: nn.Module
    input: str
    outputs: tuple[str, ...]
    examples: tuple[Tensor, ...]
    any_batch: bool
    row_dims: int
    undecided: float
    about: Mapping[str, str]

    def __call__(self, example: Tensor) -> Sequence[Tensor]:
        """What the network gives, in the order of `outputs`."""
        given = self.module(example)
        return (given,) if isinstance(given, Tensor) else given


def load_exportable(path: str | Path) -> Exportable:
    """A detector with PointNet++ or a transformer, or an image network.

    Args:
        path: A run's folder (its best weights, else its last), one of its .safetensors files, or shipped weights.

    Raises:
        ImportError: If an image network is asked for without the extra `image`.
        OSError, ValueError: If there is no such network, it is damaged, or it cannot be exported.
    """
    checkpoint = load_checkpoint(path)
    if "view" in current_settings(checkpoint.settings):
        return _image_network(checkpoint)
    return _detector(load_detector(checkpoint.path, device="cpu"), checkpoint)


class _DecodedVoteNet(nn.Module):
    """Points [B, N, 3 + C] -> boxes [B, P, 7], objectness [B, P] and class probabilities [B, P, NC]."""

    def __init__(self, network: nn.Module, config: VoteNetConfig):
        super().__init__()
        self.network, self.config = network, config

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.network(points)
        boxes = decode_boxes(output, self.config)
        return boxes, output.objectness_logits.softmax(-1)[..., 1], output.class_logits.softmax(-1)


def _detector(detector: Detector, checkpoint: Checkpoint) -> Exportable:
    model, points = detector.config.model, detector.config.points
    if not isinstance(model, VoteNetConfig) or model.backbone_type == "srunet":
        raise ValueError(
            f"{detector.path} has {'an SR-UNet' if isinstance(model, VoteNetConfig) else 'a TR3D'}, whose sparse "
            "convolutions follow tables that are made anew for each cloud and that neither ONNX nor torch.export can "
            "express; export a VoteNet with PointNet++ or a transformer, or run this one by `pcfdsl predict`"
        )
    if model.cluster_sampling_eval == "random":
        raise ValueError(
            f"{detector.path} draws its clusters at random (model.cluster_sampling_eval), which a file cannot do as "
            "pcfdsl does; train with seed_fps or vote_fps"
        )
    channels = ["x", "y", "z", *(["red", "green", "blue"] if points.use_color else [])]
    about = {
        "task": "detection",
        "num_points": points.num_points,
        "channels": [*channels, "height"] if points.use_height else channels,
        "units": "metres and radians; colours 0 to 1 minus 0.5; height above the floor",
        "frame": "right-handed, z up",
        "boxes": "cx cy cz dx dy dz yaw: centre, full extents, counter-clockwise from +x about +z",
    }
    return Exportable(
        module=_DecodedVoteNet(detector.model, model).eval(),
        input="points",
        outputs=("boxes", "objectness", "class_probabilities"),
        examples=tuple(_room(points, k) for k in range(_NUM_EXAMPLES)),
        any_batch=False,
        row_dims=2,
        undecided=0.01,
        about=_about(checkpoint, detector.classes, about),
    )


def _image_network(checkpoint: Checkpoint) -> Exportable:
    try:
        from pcfdsl.infer.image import load_image_classifier
    except ImportError as error:
        raise ImportError("image networks need timm and torchvision: pip install 'pcfdsl[image]'") from error
    trained = load_image_classifier(checkpoint.path, device="cpu")
    view = trained.config.view
    generator = torch.Generator().manual_seed(0)
    shape = (2, view.channels, view.size, view.size)
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (view.mean, view.std))
    about = {
        "task": "image classification" if trained.classes else "image features",
        "network": trained.config.model.name,
        "size": view.size,
        "channels": ["red", "green", "blue"] if view.channels == 3 else ["grey"],
        "units": "values 0 to 1, minus mean, divided by std",
        "mean": view.mean,
        "std": view.std,
        "resizing": f"{view.interpolation}, then the central {view.crop:g} of each side",
    }
    return Exportable(
        module=trained.model,
        input="images",
        outputs=("logits",) if trained.classes else ("features",),
        examples=tuple((torch.rand(shape, generator=generator) - mean) / std for _ in range(_NUM_EXAMPLES)),
        any_batch=True,
        row_dims=1,
        undecided=0.0,
        about=_about(checkpoint, trained.classes, about),
    )


def _about(checkpoint: Checkpoint, classes: tuple[str, ...], own: Mapping[str, Any]) -> dict[str, str]:
    """Strings as they are, everything else as JSON."""
    all_of_it = {
        "producer": f"pcfdsl {pcfdsl.__version__}",
        **own,
        "classes": classes,
        "step": checkpoint.step,
        "settings_digest": settings_digest(checkpoint.settings),
        "weights_sha256": hashlib.sha256(checkpoint.path.read_bytes()).hexdigest(),
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in all_of_it.items()}


def _room(config: PointsConfig, number: int) -> Tensor:
    """[1, N, 3 + C]: a floor and heaps on it, drawn as `pcfdsl predict` draws from a scan."""
    rng = stream(0, "export", number)
    total = 2 * config.num_points
    points = rng.uniform((0, 0, 0), (4, 4, 0.02), (total, 3))
    heaps = rng.uniform((0.5, 0.5, 0.2), (3.5, 3.5, 0.8), (8, 3))
    points[total // 3 :] = heaps[rng.integers(8, size=total - total // 3)] + rng.normal(0, 0.2, (total - total // 3, 3))
    scene = Scene.unlabelled(points.astype(np.float32), rng.uniform(0, 1, (total, 3)).astype(np.float32))
    return collate([scene_samples([scene], config, seed=0)[0]]).points
