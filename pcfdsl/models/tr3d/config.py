"""Settings of TR3D; the defaults are those that its published weights were trained with."""

from dataclasses import dataclass
from typing import Literal

from pcfdsl.config import option, validate
from pcfdsl.ops.sparse import SparseBackend

__all__ = ["TR3DConfig"]


@dataclass(frozen=True, kw_only=True)
class TR3DConfig:
    """The network, how boxes are shared out between its levels, and which of its answers become detections."""

    detector: Literal["tr3d"] = option("tr3d", "TR3D: one stage, on sparse convolutions alone")
    num_classes: int = option(1, "object classes", minimum=1, maximum=1_000_000)
    oriented: bool = option(True, "boxes turn about z; false: all of them lie along the axes")
    variant: Literal["native", "released"] = option(
        "native", "released: the height of an oriented box is the sum of two numbers, as published weights have it"
    )
    voxel_size: float = option(0.01, "edge of a voxel, metres", minimum=1e-3, maximum=10.0)
    features: Literal["ones", "color"] = option("ones", "what a voxel starts with: ones or the colour of a point")
    stem_channels: int = option(64, "channels after the first convolution", minimum=1, maximum=65_536)
    stem_pool: bool = option(True, "a maximum over 2 x 2 x 2 voxels after it; without, all levels are finer by two")
    planes: tuple[int, ...] = option(
        (64, 128, 128, 128), "channels of each stage; each halves the grid", minimum=1, maximum=65_536
    )
    layers: tuple[int, ...] = option((3, 4, 6, 3), "residual blocks of each stage", minimum=1, maximum=1_000)
    upsampling: Literal["generated", "encoder"] = option(
        "generated", "where boxes can be: at all voxels in reach of coarser ones, or (a tenth of the work) seen ones"
    )
    neck_channels: int = option(128, "channels that boxes are predicted from", minimum=1, maximum=65_536)
    class_levels: tuple[int, ...] = option(
        (), "level of each class's boxes, 0 fine or 1 coarse; none: by the size of each box", minimum=0, maximum=1
    )
    level_side: float = option(0.8, "longest side from which a box belongs to the coarse level, metres", minimum=0)
    confidence: float = option(0.01, "least probability of a detection, exclusive", minimum=0, maximum=1)
    nms_threshold: float = option(0.5, "IoU seen from above, over which the less probable goes", minimum=0, maximum=1)
    max_locations: int = option(
        1000, "most probable locations of a scene that are looked at", minimum=1, maximum=10_000_000
    )
    backend: SparseBackend = option("auto", "what computes sparse convolutions")

    def __post_init__(self):
        validate(self)

    def inconsistencies(self):
        """Yields (field, problem)."""
        if len(self.planes) < 3:
            yield "planes", f"has {len(self.planes)} stages; the neck joins three, so give at least 3"
        if len(self.layers) != len(self.planes):
            yield "layers", f"has {len(self.layers)} stages, planes has {len(self.planes)}; expected as many"
        if self.class_levels and len(self.class_levels) != self.num_classes:
            yield "class_levels", f"has {len(self.class_levels)} classes; expected none or {self.num_classes}"

    @property
    def num_box_channels(self) -> int:
        """Numbers that a box is predicted as."""
        return 8 if self.oriented else 6

    def misfit(self, *, use_height: bool, use_color: bool) -> tuple[str, str] | None:
        """(field, problem) where the network takes other channels than the points have."""
        wants_color = self.features == "color"
        if use_height or use_color != wants_color:
            wanted = f"points.use_height=false points.use_color={str(wants_color).lower()}"
            return "features", f"is {self.features}, which needs {wanted}"
        return None
