"""Weights files of other projects <-> ours. A converted detector is evaluated and fine-tuned like our own."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcfdsl.checkpoints.files import load_weights, write_weights
from pcfdsl.checkpoints.layouts import Layout, from_ours
from pcfdsl.checkpoints.run_folder import find_weights
from pcfdsl.checkpoints.weights import Headings, benchmark_of, not_finite, read_weights
from pcfdsl.config import to_dict
from pcfdsl.datasets.sources import NoSource
from pcfdsl.datasets.spec import DatasetSpec
from pcfdsl.evaluate.detector import EvaluationConfig
from pcfdsl.models.backbone import SRUNetSettings
from pcfdsl.models.decode import DecodeOptions
from pcfdsl.models.detector import build_detector
from pcfdsl.models.pointnet2 import PointNet2Config
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.votenet import VoteNetConfig
from pcfdsl.samples.detection import PointsConfig
from pcfdsl.store.atomic import write_file
from pcfdsl.train.tasks.detection import DetectorConfig

__all__ = ["ConvertReport", "export_checkpoint", "import_checkpoint", "published_settings"]

_TR3D_POINTS = 100_000  # of SUN RGB-D; of ScanNet the published evaluation takes all, which are some 150,000

_CONTAINER: dict[Layout, str] = {
    "votenet": "model_state_dict",
    "backbone": "state_dict",
    "depthcontrast": "model",
    "mmdetection3d": "state_dict",
    "samsunglabs": "state_dict",
    "tr3d": "state_dict",
}


@dataclass(frozen=True, kw_only=True)
class ConvertReport:
    """What became of a checkpoint.

    Attributes:
        out: The file written.
        layout: The other project's layout.
        converted: Number of tensors converted.
        unmatched: Tensors of the source that the other layout has no place for; they are left out.
        missing: Tensors that a whole detector has and the source does not.
        detector: The benchmark whose detector it is, ready to be evaluated; None for a backbone or another head.
        notes: What to know about it.
    """

    out: Path
    layout: Layout
    converted: int
    unmatched: tuple[str, ...]
    missing: tuple[str, ...] = ()
    detector: str | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The report as indented JSON."""
        return json.dumps({**asdict(self), "out": str(self.out)}, indent=2)


def import_checkpoint(
    source: str | Path, out: str | Path, *, layout: Layout | None = None, headings: Headings = "auto"
) -> ConvertReport:
    """Write another project's checkpoint as ours.

    A detector of ScanNetV2 or SUN RGB-D, recognised by the size of its last layer, gets the settings that it was
    published with, so that pcfdsl evaluate takes it.

    Args:
        source: Its weights file.
        out: Ends in .safetensors.
        layout: Its layout; None detects it.
        headings: Which way those of MMDetection3D turn; see `read_weights`.

    Raises:
        OSError: If the file is missing or the result cannot be written.
        ValueError: If it cannot be read, or is of no known layout.
    """
    weights = read_weights(source, layout=layout, headings=headings)
    notes = [*weights.notes, *(f"NaN or infinity in {tensor}" for tensor in not_finite(weights.state))]
    spec = benchmark_of(weights.state)
    metadata: dict[str, Any] = {"converted_from": {"file": Path(source).name, "layout": weights.layout}}
    missing: tuple[str, ...] = ()
    if spec is not None:
        config, more = published_settings(weights.state, spec)
        notes += [
            f"taken for a detector of {spec.name} by the size of its last layer; of others the boxes mean nothing"
        ]
        notes += more
        try:
            missing = tuple(build_detector(config.model).load_state_dict(weights.state, strict=False).missing_keys)
        except RuntimeError as error:
            raise ValueError(f"{source} is not a whole detector of {spec.name}: {error}") from None
        settings = {**to_dict(config), "classes": list(spec.classes)}
        metadata |= {"settings": settings, "step": 0, "metrics": {}}
    return ConvertReport(
        out=write_weights(out, weights.state, metadata=metadata),
        layout=weights.layout,
        converted=len(weights.state),
        unmatched=tuple(weights.unmatched),
        missing=missing,
        detector=spec and spec.name,
        notes=tuple(notes),
    )


def export_checkpoint(
    source: str | Path, out: str | Path, *, layout: Layout, headings: Headings = "counterclockwise"
) -> ConvertReport:
    """Write one of our checkpoints for another project.

    Args:
        source: A run's folder or a .safetensors file.
        out: The torch file.
        layout: The other project's layout.
        headings: Which way those of MMDetection3D are to turn: clockwise for versions before 1.0.

    Raises:
        OSError: If the source is missing or the result cannot be written.
        ValueError: If nothing in it fits the layout.
    """
    state, metadata = load_weights(find_weights(source))
    settings = metadata.get("settings", {})
    model = settings.get("model", {})
    spec = benchmark_of(state)
    if spec is not None and tuple(settings.get("classes", spec.classes)) != spec.classes:
        spec = None  # another detector whose last layer happens to have that size
    conversion = from_ours(
        state,
        layout=layout,
        num_classes=model.get("num_classes", spec and len(spec.classes)),
        num_heading_bins=model.get("num_heading_bins", spec and spec.num_heading_bins),
        clockwise=headings == "clockwise",
    )
    content: dict[str, Any] = {_CONTAINER[layout]: conversion.state}
    if layout in ("mmdetection3d", "tr3d"):
        content["meta"] = {"mmdet3d_version": "0.17.0" if headings == "clockwise" else "1.4.0"}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_file(out, buffer.getvalue())
    return ConvertReport(
        out=Path(out),
        layout=layout,
        converted=len(conversion.state),
        unmatched=conversion.unmatched,
        detector=spec and spec.name,
    )


def published_settings(state: Mapping[str, Tensor], spec: DatasetSpec) -> tuple[DetectorConfig, list[str]]:
    """Settings of a published detector: the benchmark's, with the widths and inputs read off its tensors, and notes."""
    if "bbox_head.conv_cls.kernel" in state:
        return _published_tr3d(spec), []
    notes = []
    model: dict[str, Any] = {
        "num_classes": len(spec.classes),
        "num_heading_bins": spec.num_heading_bins,
        "mean_sizes": spec.mean_sizes,
    }
    if "backbone_net.net.conv0p1s1.kernel" in state:
        points = PointsConfig(num_points=spec.num_points, use_height=False, votes=spec.votes)
        model |= {"backbone_type": "srunet", "srunet": SRUNetSettings()}
        notes.append("the file does not say whether its voxels start with ones or colours (CSC); ones are assumed")
    else:
        mlps, fp_widths = _widths(state, "sa{}.mlp_module", 4), _widths(state, "fp{}.mlp", 2)
        channels = state["backbone_net.sa1.mlp_module.layer0.conv.weight"].shape[1] - 3
        use_height, use_color = channels in (1, 4), channels >= 3
        points = PointsConfig(num_points=spec.num_points, use_height=use_height, use_color=use_color, votes=spec.votes)
        if use_height and use_color:
            notes.append("the network takes colour and height; our order is assumed: colour, then height")
        model["backbone"] = PointNet2Config(input_channels=channels, mlps=mlps, fp_widths=fp_widths)
    config = DetectorConfig(
        validation=NoSource(),
        points=points,
        augment=spec.augment,
        model=VoteNetConfig(**model),
        sizes="given",
        evaluation=EvaluationConfig(
            decode=DecodeOptions(nms="3d_same_class", per_class_proposal=True, remove_empty=True, confidence=0.05)
        ),
    )
    return config, notes


def _published_tr3d(spec: DatasetSpec) -> DetectorConfig:
    oriented = spec.num_heading_bins > 1
    model = TR3DConfig(
        num_classes=len(spec.classes),
        oriented=oriented,
        variant="released" if oriented else "native",
        features="color",
        class_levels=spec.class_levels,
    )
    points = PointsConfig(num_points=_TR3D_POINTS, use_height=False, use_color=True)
    return DetectorConfig(validation=NoSource(), points=points, augment=spec.augment, model=model, sizes="given")


def _widths(state: Mapping[str, Tensor], part: str, count: int) -> tuple[tuple[int, ...], ...]:
    """Widths of the layers of each part, for as many parts as there are."""
    found = []
    for i in range(1, count + 1):
        prefix = f"backbone_net.{part.format(i)}.layer"
        names = [f"{prefix}{j}.conv.weight" for j in range(8)]
        found.append(tuple(len(state[name]) for name in names if name in state))
    return tuple(widths for widths in found if widths)
