"""Names of tensors in the published checkpoints of backbones, and what they are called in our networks."""

import re
from collections.abc import Mapping
from typing import TypeVar

__all__ = ["to_detector_names"]

T = TypeVar("T")

WRAPPERS = ("module.", "encoder.")
SRUNET_PARTS = re.compile(r"(conv0p1s1|bn0|conv\dp\d+s2|bn[1-4]|block[1-8]|convtr\dp\d+s2|bntr[4-7]|final)\.")
POINTNET2_PARTS = re.compile(r"(sa\d|fp\d)\.")


def to_detector_names(state: Mapping[str, T]) -> dict[str, T]:
    """Name the tensors of a bare backbone as a detector does.

    PointContrast and CSC publish backbones on their own: `conv0p1s1.kernel` ... (SR-UNet), which a detector has under
    `backbone_net.net.`, or `sa1.mlp_module...` (PointNet++), under `backbone_net.`. As in their loaders, `module.` (of
    data-parallel training) and then `encoder.` are stripped first. Names of neither kind are left as they are, so a
    whole detector's pass through.

    >>> sorted(to_detector_names({"module.encoder.final.bias": 0, "backbone_net.fp1.mlp.layer0.conv.weight": 1}))
    ['backbone_net.fp1.mlp.layer0.conv.weight', 'backbone_net.net.final.bias']
    """
    renamed = {}
    for name, value in state.items():
        for wrapper in WRAPPERS:
            name = name.removeprefix(wrapper)
        if SRUNET_PARTS.match(name):
            name = f"backbone_net.net.{name}"
        elif POINTNET2_PARTS.match(name):
            name = f"backbone_net.{name}"
        renamed[name] = value
    return renamed
