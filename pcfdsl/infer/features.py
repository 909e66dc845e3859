"""Features of any cloud by a trained backbone: one vector per point, or one per cloud.

Works with every run that trains PointNet++, SR-UNet or a transformer to describe points (detection, segmentation,
PointContrast, CSC, RandomRooms) and with TR3D's. Points alone are enough, unless the run was trained with colours.
`pcfdsl.view.features` draws them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pcfdsl.checkpoints.older import current_settings
from pcfdsl.checkpoints.run_folder import load_checkpoint
from pcfdsl.config import ConfigError, from_dict
from pcfdsl.datasets.augment import Draws, choose_rows
from pcfdsl.infer.trained import check_finite
from pcfdsl.models.backbone import (
    BackboneConfig,
    PointNet2Backbone,
    SRUNetBackbone,
    TransformerBackbone,
    build_backbone,
)
from pcfdsl.models.tr3d.config import TR3DConfig
from pcfdsl.models.tr3d.network import TR3D
from pcfdsl.ops.interpolate import inverse_distance_weights, nearest, three_interpolate, three_nearest
from pcfdsl.readers.clouds import CLOUD_FILES, cloud_files, read_cloud
from pcfdsl.readers.hints import scan_hints, summarize_notes
from pcfdsl.rng import stream
from pcfdsl.samples.points import input_points
from pcfdsl.scene.boxes import Scene
from pcfdsl.store.atomic import make_folder, write_file
from pcfdsl.train.distributed import choose_device

__all__ = ["Extraction", "FeatureExtractor", "Per", "extract_features", "load_backbone"]

Per = Literal["point", "cloud"]


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureExtractor:
    """A trained backbone.

    Attributes:
        backbone: The network, in evaluation mode; a TR3D with its neck.
        num_points: How many points of a cloud it looks at; larger clouds are thinned out, smaller ones repeated.
        use_height: Whether it takes the height above the floor, which is computed.
        use_color: Whether it takes colours.
        path: Its file.
    """

    backbone: PointNet2Backbone | SRUNetBackbone | TransformerBackbone | TR3D
    num_points: int
    use_height: bool
    use_color: bool
    path: Path

    @torch.inference_mode()
    def __call__(
        self, points: np.ndarray, colors: np.ndarray | None = None, *, per: Per = "point", seed: int = 0
    ) -> np.ndarray:
        """Features of a cloud.

        The network describes some of the points (seeds of PointNet++ or a transformer, or one point of each voxel of
        SR-UNet or TR3D). All others get features from those: interpolated between the three nearest seeds, or those of
        the nearest voxel's point.
        TR3D's are those of both levels of its neck side by side, the fine one first.

        Args:
            points: [N, 3] metres, z up.
            colors: [N, 3] in 0..1, for a network that was trained with them.
            per: "point", or "cloud" for the mean of what the network describes.
            seed: Decides which points the network sees of a cloud larger than `num_points`.

        Returns:
            [N, C] float32, or [C] for a whole cloud.

        Raises:
            ValueError: If the cloud is empty, has another shape or points that are not finite, or lacks colours.
        """
        points = np.ascontiguousarray(points, np.float32)
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f"points has shape {points.shape}; expected [N, 3] with at least one point")
        if self.use_color and (colors is None or np.shape(colors) != points.shape):
            given = "none" if colors is None else f"of shape {np.shape(colors)}"
            raise ValueError(
                f"{self.path} was trained with colours; expected colors {list(points.shape)}, there are {given}"
            )
        device = next(self.backbone.parameters()).device
        described = self.backbone.describe(torch.from_numpy(self._sample(points, colors, seed))[None].to(device))
        if per == "cloud":
            return described.features.mean(0).cpu().numpy()
        queries, known = torch.from_numpy(points)[None].to(device), described.xyz[None].contiguous()
        if isinstance(self.backbone, PointNet2Backbone | TransformerBackbone) and known.shape[1] >= 3:
            distances, indices = three_nearest(queries, known)
            found = three_interpolate(described.features[None], indices, inverse_distance_weights(distances))
        else:
            found = described.features[nearest(queries, known)[1]]
        return found[0].cpu().numpy()

    def _sample(self, points: np.ndarray, colors: np.ndarray | None, seed: int) -> np.ndarray:
        """What the network sees: [num_points, 3 + C] float32."""
        rows = choose_rows(stream(seed, "features"), len(points), self.num_points)
        cloud = Scene.unlabelled(points, colors)
        return input_points(cloud, Draws(rows=rows), use_height=self.use_height, use_color=self.use_color)


@dataclass(frozen=True, eq=False)
class Extraction:
    """Features of several clouds.

    Attributes:
        paths: The files that were read.
        clouds: Their points, [N, 3] each.
        features: [N, C] each, or [C] per cloud.
        skipped: File -> why it was passed over.
        notes: Sentences on what looks wrong with clouds or had to be changed.
    """

    paths: tuple[Path, ...]
    clouds: tuple[np.ndarray, ...]
    features: tuple[np.ndarray, ...]
    skipped: Mapping[str, str]
    notes: tuple[str, ...] = ()


def load_backbone(path: str | Path, *, device: str = "auto") -> FeatureExtractor:
    """The backbone of a training run.

    Args:
        path: A run's folder (its best weights, else its last), or one of its .safetensors files.
        device: See `choose_device`.

    Raises:
        OSError, ValueError: If there is no such run, it is damaged, or it has no backbone for points.
    """
    checkpoint = load_checkpoint(path)
    check_finite(checkpoint)
    settings = current_settings(checkpoint.settings)
    known = {field.name for field in fields(BackboneConfig)}
    model, points = settings.get("model"), settings.get("points")
    is_tr3d = isinstance(model, dict) and model.get("detector") == "tr3d"
    if not isinstance(model, dict) or not isinstance(points, dict) or not (is_tr3d or "backbone_type" in model):
        raise ValueError(
            f"{checkpoint.path} has no backbone for point clouds that features are extracted from; expected a run of "
            "VoteNet, of TR3D or of a pre-training of their backbones"
        )
    try:
        if is_tr3d:
            backbone, own = TR3D(from_dict(TR3DConfig, model)), checkpoint.state
        else:
            config = from_dict(BackboneConfig, {key: value for key, value in model.items() if key in known})
            backbone = build_backbone(config)
            prefix = "backbone_net."
            own = {name.removeprefix(prefix): x for name, x in checkpoint.state.items() if name.startswith(prefix)}
    except ConfigError as error:
        raise ValueError(f"{checkpoint.path}: the settings of its backbone cannot be read: {error}") from None
    if missing := [name for name in backbone.state_dict() if name not in own]:
        raise ValueError(
            f"{checkpoint.path} lacks {len(missing)} tensors of the backbone, such as {missing[0]}; "
            "a classifier of clouds trains only its way down, which describes no points"
        )
    backbone.load_state_dict(own)
    return FeatureExtractor(
        backbone=backbone.eval().to(choose_device(device)),
        num_points=points["num_points"],
        use_height=points.get("use_height", False),
        use_color=points.get("use_color", False),
        path=checkpoint.path,
    )


def extract_features(
    extractor: FeatureExtractor,
    clouds: Sequence[str | Path],
    out: str | Path,
    *,
    per: Per = "point",
    bin_columns: int = 6,
) -> Extraction:
    """Features of many files. A file that cannot be read costs only itself.

    Args:
        extractor: See `load_backbone`.
        clouds: Files in metres, z up, and folders of them.
        out: Per point, a folder that gets NAME.npz with points [N, 3] and features [N, C] for each cloud; per cloud,
            one .npz file with names [K] and features [K, C].
        per: "point" or "cloud".
        bin_columns: Numbers in a row of a .bin file.

    Raises:
        FileExistsError: If two clouds would write the same file.
        OSError: If `out` cannot be written.
        ValueError: If no cloud can be read.
    """
    out, done, read, features, skipped, notes = Path(out), [], [], [], {}, {}
    paths = list(_files(clouds))
    twice = [stem for stem, number in Counter(path.stem for path in paths).items() if number > 1]
    if per == "point" and twice:
        raise FileExistsError(f"several clouds are called {twice[0]}; extract their features into different folders")
    for path in paths:
        try:
            cloud = read_cloud(path, bin_columns=bin_columns)
            points, found = cloud.points, extractor(cloud.points, cloud.colors, per=per)
        except (OSError, ValueError) as error:
            skipped[str(path)] = str(error)
            continue
        if per == "point":
            placed = points + cloud.offset if cloud.offset.any() else points  # in the frame of the file
            _write(make_folder(out) / f"{path.stem}.npz", points=placed, features=found)
        done.append(path)
        notes[str(path)] = (*cloud.notes, *scan_hints(points, num_points=extractor.num_points if per == "point" else 1))
        read.append(points)
        features.append(found)
    if not done:
        raise ValueError("; ".join(skipped.values()) or f"there are no {', '.join(CLOUD_FILES)} files to read")
    if per == "cloud":
        _write(out, names=np.array([path.name for path in done]), features=np.stack(features))
    lines = summarize_notes(notes, num_items=len(done))
    return Extraction(tuple(done), tuple(read), tuple(features), skipped, lines)


def _files(clouds: Sequence[str | Path]) -> Iterator[Path]:
    """The files named, and those in the folders named."""
    for path in map(Path, clouds):
        if path.is_dir():
            yield from cloud_files(path)
        else:
            yield path


def _write(path: Path, **arrays: np.ndarray) -> None:
    write_file(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
