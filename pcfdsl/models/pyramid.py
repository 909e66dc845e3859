"""Networks of timm as torchvision's detectors take them."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

__all__ = ["PyramidBackbone"]


class PyramidBackbone(nn.Module):
    """A network of timm under a feature pyramid, as torchvision's detectors take it: MaskRCNN(PyramidBackbone(...)).

    Args:
        network: timm's network; its weights are used, and what comes after the last map is removed.
        levels: Which of its feature maps, as counted in its `feature_info`; by default the last four.
        channels: Of the pyramid's maps.

    Raises:
        ValueError: If the network does not give feature maps.
    """

    def __init__(self, network: Any, *, levels: Sequence[int] | None = None, channels: int = 256):
        super().__init__()
        if not hasattr(network, "forward_intermediates"):
            raise ValueError(f"{type(network).__name__} gives no intermediate feature maps in this version of timm")
        self.body, self.out_channels = network, channels
        num_maps = len(network.feature_info)
        self.levels = tuple(range(num_maps))[-4:] if levels is None else tuple(levels)
        widths = [network.feature_info[level]["num_chs"] for level in self.levels]
        self.body.prune_intermediate_layers(list(self.levels))  # what would get no gradient, the classifier first
        self.fpn = FeaturePyramidNetwork(widths, channels, extra_blocks=LastLevelMaxPool())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """[B, C, H, W] -> maps "0", "1", ... and "pool", finest first."""
        maps = self.body.forward_intermediates(  # type: ignore[operator]
            images, indices=list(self.levels), intermediates_only=True, output_fmt="NCHW"
        )
        return self.fpn(OrderedDict((str(k), map_) for k, map_ in enumerate(maps)))
