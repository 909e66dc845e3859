"""Checkpoint files of other codes <-> ours. A converted detector is evaluated and fine-tuned like our own."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pcfdsl.checkpoints.convert import Conversion, Layout, detect_layout, from_ours, to_ours
from pcfdsl.checkpoints.run import find_weights
from pcfdsl.checkpoints.weights import load_weights, read_torch_file, write_weights
from pcfdsl.config import to_dict
from pcfdsl.datasets.sources import PointsConfig, SourceConfig
from pcfdsl.datasets.spec import SPECS, DatasetSpec
from pcfdsl.evaluate.detector import EvaluationConfig
from pcfdsl.models.backbone import SRUNetSettings
from pcfdsl.models.decode import DecodeOptions
from pcfdsl.models.pointnet2 import PointNet2Config
from pcfdsl.models.votenet import VoteNet, VoteNetConfig
from pcfdsl.store.atomic import write_file
from pcfdsl.train.tasks.detection import DetectorConfig

__all__ = ["ConvertReport", "Headings", "export_checkpoint", "import_checkpoint"]

Headings = Literal["auto", "clockwise", "counterclockwise"]

_STATE_KEYS: dict[Layout, str] = {
    "votenet": "model_state_dict",
    "backbone": "state_dict",
    "depthcontrast": "model",
    "mmdetection3d": "state_dict",
}


@dataclass(frozen=True, kw_only=True)
class ConvertReport:
    """What became of a checkpoint.

    Attributes:
        out: The file written.
        layout: The other code's layout.
        converted: Tensors converted.
        unmatched: Tensors of the source that the other layout has no place for.
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
    """Write another code's checkpoint as ours.

    A detector of ScanNetV2 or SUN RGB-D, which the size of its last layer tells, gets the settings that it was
    published with, so that tools/evaluate_votenet.py takes it.

    Args:
        source: Its torch file.
        out: Ends in .safetensors.
        layout: Its layout; None finds out.
        headings: Which way those of MMDetection3D turn: clockwise before its version 1.0; "auto" goes by the version
            that the file names.

    Raises:
        OSError: If the file is missing or the result cannot be written.
        ValueError: If it cannot be read, or is of no known layout.
    """
    state, meta = read_torch_file(source)
    layout = layout or detect_layout(state)
    notes = []
    clockwise = headings == "clockwise"
    if layout == "mmdetection3d" and headings == "auto":
        version = str(meta.get("mmdet3d_version", ""))
        clockwise = version.startswith("0.")
        notes.append(
            f"headings taken as {'clockwise' if clockwise else 'counter-clockwise'}: the file "
            + (f"is of version {version}" if version else "names no version, so it is taken for one since 1.0")
        )
    conversion = to_ours(state, layout=layout, clockwise=clockwise)
    spec = _benchmark_of(conversion.state)
    metadata: dict[str, Any] = {"converted_from": {"file": Path(source).name, "layout": layout}}
    missing: tuple[str, ...] = ()
    if spec is not None:
        config, more = _published_settings(conversion.state, spec)
        notes += more
        model = VoteNet(config.model)
        try:
            missing = tuple(model.load_state_dict(conversion.state, strict=False).missing_keys)
        except RuntimeError as error:
            raise ValueError(f"{source} is no whole detector of {spec.name}: {error}") from None
        settings = {**to_dict(config), "classes": list(spec.classes)}
        metadata |= {"settings": settings, "step": 0, "metrics": {}}
    path = write_weights(out, conversion.state, metadata=metadata)
    return _report(conversion, path, missing=missing, detector=spec and spec.name, notes=tuple(notes))


def export_checkpoint(
    source: str | Path, out: str | Path, *, layout: Layout, headings: Headings = "counterclockwise"
) -> ConvertReport:
    """Write one of our checkpoints for another code.

    Args:
        source: A run's folder or a .safetensors file.
        out: The torch file.
        layout: The other code's layout.
        headings: Which way those of MMDetection3D are to turn: clockwise for versions before 1.0.

    Raises:
        OSError: If the source is missing or the result cannot be written.
        ValueError: If nothing of it fits the layout.
    """
    state, metadata = load_weights(find_weights(source))
    model = metadata.get("settings", {}).get("model", {})
    spec = _benchmark_of(state)
    conversion = from_ours(
        state,
        layout=layout,
        num_classes=model.get("num_classes", spec and len(spec.classes)),
        num_heading_bins=model.get("num_heading_bins", spec and spec.num_heading_bins),
        clockwise=headings == "clockwise",
    )
    content: dict[str, Any] = {_STATE_KEYS[layout]: conversion.state}
    if layout == "mmdetection3d":
        content["meta"] = {"mmdet3d_version": "0.17.0" if headings == "clockwise" else "1.4.0"}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_file(out, buffer.getvalue())
    return _report(conversion, Path(out), detector=spec and spec.name)


def _report(conversion: Conversion, out: Path, **more: Any) -> ConvertReport:
    return ConvertReport(
        out=out,
        layout=conversion.layout,
        converted=len(conversion.state),
        unmatched=conversion.unmatched,
        **more,
    )


def _benchmark_of(state: Mapping[str, Tensor]) -> DatasetSpec | None:
    """The benchmark whose published head has as many channels: 2 + 3 + 2 bins + 4 sizes + classes."""
    if "pnet.conv3.bias" not in state:
        return None
    channels = len(state["pnet.conv3.bias"])
    return next((spec for spec in SPECS if channels == 5 + 2 * spec.num_heading_bins + 5 * len(spec.classes)), None)


def _published_settings(state: Mapping[str, Tensor], spec: DatasetSpec) -> tuple[DetectorConfig, list[str]]:
    """Settings of a published detector: the benchmark's, with the widths and inputs that its tensors tell."""
    notes = []
    model: dict[str, Any] = {
        "num_classes": len(spec.classes),
        "num_heading_bins": spec.num_heading_bins,
        "mean_sizes": spec.mean_sizes,
    }
    if "backbone_net.net.conv0p1s1.kernel" in state:
        points = PointsConfig(num_points=spec.num_points, use_height=False, votes=spec.votes)
        model |= {"backbone_type": "srunet", "srunet": SRUNetSettings()}
        notes.append("whether its voxels start with ones or colours (CSC) the file does not say; taken as ones")
    else:
        mlps, fp_widths = _widths(state, "sa{}.mlp_module", 4), _widths(state, "fp{}.mlp", 2)
        channels = state["backbone_net.sa1.mlp_module.layer0.conv.weight"].shape[1] - 3
        use_height, use_color = channels in (1, 4), channels >= 3
        points = PointsConfig(num_points=spec.num_points, use_height=use_height, use_color=use_color, votes=spec.votes)
        if use_height and use_color:
            notes.append("takes colour and height; their order is taken as ours: colour, then height")
        model["backbone"] = PointNet2Config(input_channels=channels, mlps=mlps, fp_widths=fp_widths)
    config = DetectorConfig(
        validation=SourceConfig(kind="none"),
        points=points,
        augment=spec.augment,
        model=VoteNetConfig(**model),
        sizes="given",
        evaluation=EvaluationConfig(
            decode=DecodeOptions(nms="3d_same_class", per_class_proposal=True, remove_empty=True, confidence=0.05)
        ),
    )
    return config, notes


def _widths(state: Mapping[str, Tensor], part: str, count: int) -> tuple[tuple[int, ...], ...]:
    """Widths of the layers of each part, of as many parts as there are."""
    found = []
    for i in range(1, count + 1):
        prefix = f"backbone_net.{part.format(i)}.layer"
        names = [f"{prefix}{j}.conv.weight" for j in range(8)]
        found.append(tuple(len(state[name]) for name in names if name in state))
    return tuple(widths for widths in found if widths)
