"""Tensor names and shapes of other projects' networks <-> ours: VoteNet's are those of its released code.

The layouts:

- "votenet": VoteNet's own, and the detectors that PointContrast and CSC fine-tuned with it: our names.
- "backbone": the bare network that PointContrast and CSC pre-train (SR-UNet, or CSC's PointNet++), perhaps under
  `encoder.`.
- "depthcontrast": DepthContrast's `trunk.0`, and `trunk.2` where it has two networks; odd trunks are their moving
  averages.
- "mmdetection3d": MMDetection3D's VoteNet. Its last layer is split in two, and since its version 1.0 its headings turn
  counter-clockwise where VoteNet's turn clockwise: the channels of the bins are permuted and those of the residuals
  negated, so that the same box comes out.
- "tr3d": MMDetection3D's TR3D: our names.
- "samsunglabs": the TR3D of its authors, whose head has other names.

Names are without the prefixes of wrappers such as `module.`. Every tensor of a source is either converted or listed in
`Conversion.unmatched`; converting back gives the original.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = ["LAYOUTS", "Conversion", "Layout", "detect_layout", "from_ours", "in_layouts", "mirror_headings", "to_ours"]

Layout = Literal["votenet", "backbone", "depthcontrast", "mmdetection3d", "samsunglabs", "tr3d"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_HEAD = "bbox_head.conv_pred"


@dataclass(frozen=True)
class Conversion:
    """A converted state dict.

    Attributes:
        state: Tensors by their new names.
        unmatched: Names of the source's tensors that have no counterpart in the other layout; they are left out.
    """

    state: dict[str, Tensor]
    unmatched: tuple[str, ...]


def detect_layout(state: Mapping[str, Tensor]) -> Layout:
    """Detect the layout of a state dict.

    Raises:
        ValueError: If it is unknown, or that of a version of MMDetection3D that is too old.
    """
    if any(name.startswith("bbox_head.conv_pred.conv_out.") for name in state):
        raise ValueError(
            "this is a VoteNet of MMDetection3D before version 0.6; upgrade it first with that project's "
            "tools/model_converters/convert_votenet_checkpoints.py"
        )
    for layout, known in _KNOWN.items():
        if any(known(name) for name in state):
            return layout
    raise ValueError(
        f"the tensor names match no known layout; the first are {_first(state)}; expected those of a VoteNet "
        "(backbone_net., vgen., pnet.), of its backbone alone (sa1., fp1., conv0p1s1., block1.), of DepthContrast "
        "(trunk.0.), of MMDetection3D (backbone.SA_modules., bbox_head.) or of a TR3D (backbone.layer1., neck.)"
    )


def in_layouts(name: str) -> bool:
    """Whether a name says that a tensor belongs to one of the layouts."""
    return any(known(name) for known in _KNOWN.values())


def to_ours(state: Mapping[str, Tensor], *, layout: Layout, clockwise: bool = False) -> Conversion:
    """Rename another project's tensors to our names.

    Args:
        state: Its state dict.
        layout: Its layout.
        clockwise: Whether the headings of a detector of MMDetection3D are clockwise, as before its version 1.0.

    Raises:
        ValueError: If nothing can be converted, or the last two layers of MMDetection3D's head do not match.
    """
    converted: dict[str, Tensor] = {}
    used = set()
    for name, tensor in state.items():
        new = _our_name(name, layout)
        if new is not None and new not in converted:
            converted[new] = tensor
            used.add(name)
    if layout == "mmdetection3d":
        head = _joined_head(state, clockwise=clockwise)
        converted |= head
        used |= {_split_name(part, name) for name in head for part in ("cls", "reg")}
    unmatched = [name for name in state if name not in used]
    if not converted:
        raise ValueError(f"no tensor name matches the layout {layout}; the first are {_first(state)}")
    return Conversion(converted, tuple(unmatched))


def from_ours(
    state: Mapping[str, Tensor],
    *,
    layout: Layout,
    num_classes: int | None = None,
    num_heading_bins: int | None = None,
    clockwise: bool = False,
) -> Conversion:
    """Rename our tensors to another project's names; the inverse of `to_ours`.

    Args:
        state: Our state dict.
        layout: The other layout.
        num_classes: Number of classes of a detector; only MMDetection3D's layout needs it.
        num_heading_bins: Number of its heading bins, for the same layout.
        clockwise: Make the headings clockwise, as in MMDetection3D before version 1.0.

    Raises:
        ValueError: If nothing can be converted, or a number is missing or does not match.
    """
    converted: dict[str, Tensor] = {}
    unmatched = []
    for name, tensor in state.items():
        new = _their_name(name, layout)
        if new is not None:
            converted[new] = tensor
        elif layout == "mmdetection3d" and name in ("pnet.conv3.weight", "pnet.conv3.bias"):
            if num_classes is None or num_heading_bins is None:
                raise ValueError("MMDetection3D splits the last layer: give the numbers of classes and heading bins")
            converted |= _split_head(name, tensor, num_classes, num_heading_bins, clockwise=clockwise)
        else:
            unmatched.append(name)
    if not converted:
        raise ValueError(f"no tensor has a counterpart in the layout {layout}; the first are {_first(state)}")
    return Conversion(converted, tuple(unmatched))


def mirror_headings(tensor: Tensor, num_heading_bins: int) -> Tensor:
    """Convert the last layer's weight or bias to headings of the other direction; applied twice, it changes nothing.

    Bins k and -k are exchanged, and residuals change their sign.

    Args:
        tensor: [2 + 3 + 2 NH + ..., ...] channels in VoteNet's order.
        num_heading_bins: NH.
    """
    if num_heading_bins == 1:  # boxes without yaw: these channels are unused
        return tensor
    mirrored = tensor.clone()
    bins = 5 + (-torch.arange(num_heading_bins)) % num_heading_bins
    mirrored[5 : 5 + num_heading_bins] = tensor[bins]
    mirrored[5 + num_heading_bins : 5 + 2 * num_heading_bins] = -tensor[bins + num_heading_bins]
    return mirrored


_SRUNET = re.compile(r"(conv0p1s1|bn0|conv\dp\d+s2|bn[1-4]|block[1-8]|convtr\dp\d+s2|bntr[4-7]|final)\.")
_POINTNET2 = re.compile(r"(sa\d|fp\d)\.")


def _backbone_name(name: str) -> str | None:
    name = name.removeprefix("encoder.")
    if _SRUNET.match(name):
        return f"backbone_net.net.{name}"
    return f"backbone_net.{name}" if _POINTNET2.match(name) else None


def _in_trunk(name: str) -> str | None:
    match = re.match(r"trunk\.(\d+)\.(.*)", name)
    return _backbone_name(match[2]) if match and int(match[1]) % 2 == 0 else None


def _of_backbone(name: str) -> bool:
    """Whether only these backbones have a tensor of this name; a picture network may have `bn1` and `final` too."""
    return _backbone_name(name) is not None and not re.match(r"(encoder\.)?(bn\d|final)\.", name)


def _of_trunk(name: str) -> bool:
    return _in_trunk(name) is not None and _of_backbone(name.split(".", 2)[2])


_KNOWN: dict[Layout, Callable[[str], object]] = {
    "votenet": re.compile(r"(backbone_net|vgen|pnet)\.").match,
    "mmdetection3d": re.compile(r"(backbone\.(SA|FP)_modules|bbox_head\.(vote_module|conv_pred))\.").match,
    "depthcontrast": _of_trunk,
    "backbone": _of_backbone,
    "samsunglabs": re.compile(r"head\.(bbox|cls)_conv\.").match,
    "tr3d": re.compile(r"(backbone\.(conv1|layer\d+\.\d+\.conv\d)|neck\.(up|lateral|out)_block_\d\.0)\.kernel$").match,
}

_TR3D = re.compile(r"(backbone\.(conv1|norm1|layer\d+)|neck\.(up|lateral|out)_block_\d|bbox_head\.conv_(reg|cls))\.")
_TR3D_HEAD = (("bbox_head.conv_reg.", "head.bbox_conv."), ("bbox_head.conv_cls.", "head.cls_conv."))

# Our name <-> MMDetection3D's, part by part. Our layers are numbered from 1, theirs from 0.
_MMDETECTION3D = [
    *((f"backbone_net.sa{i + 1}.mlp_module.", f"backbone.SA_modules.{i}.mlps.0.") for i in range(4)),
    *((f"backbone_net.fp{i + 1}.mlp.", f"backbone.FP_modules.{i}.mlps.") for i in range(2)),
    ("pnet.vote_aggregation.mlp_module.", "bbox_head.vote_aggregation.mlps.0."),
    *(
        (f"vgen.{part}{i + 1}.", f"bbox_head.vote_module.vote_conv.{i}.{part}.")
        for part in ("conv", "bn")
        for i in (0, 1)
    ),
    ("vgen.conv3.", "bbox_head.vote_module.conv_out."),
    *((f"pnet.{part}{i + 1}.", f"{_HEAD}.shared_convs.layer{i}.{part}.") for part in ("conv", "bn") for i in (0, 1)),
]


def _first(state: Mapping[str, Tensor]) -> str:
    return ", ".join(list(state)[:4]) or "none"


def _our_name(name: str, layout: Layout) -> str | None:
    if layout == "votenet":
        return name if _KNOWN["votenet"](name) else None
    if layout == "backbone":
        return _backbone_name(name)
    if layout == "depthcontrast":
        return _in_trunk(name)
    if layout in ("tr3d", "samsunglabs"):
        for ours, theirs in _TR3D_HEAD if layout == "samsunglabs" else ():
            name = ours + name.removeprefix(theirs) if name.startswith(theirs) else name
        return name if _TR3D.match(name) else None
    for ours, theirs in _MMDETECTION3D:
        if name.startswith(theirs):
            rest = name.removeprefix(theirs)
            return ours + (rest.replace(".bn.", ".bn.bn.") if rest.startswith("layer") else rest)
    return None


def _their_name(name: str, layout: Layout) -> str | None:
    if layout == "votenet":
        return name if _KNOWN["votenet"](name) else None
    if layout in ("tr3d", "samsunglabs"):
        if not _TR3D.match(name):
            return None
        for ours, theirs in _TR3D_HEAD if layout == "samsunglabs" else ():
            name = theirs + name.removeprefix(ours) if name.startswith(ours) else name
        return name
    if layout == "mmdetection3d":
        for ours, theirs in _MMDETECTION3D:
            if name.startswith(ours):
                return theirs + name.removeprefix(ours).replace(".bn.bn.", ".bn.")
        return None
    if not name.startswith("backbone_net."):
        return None
    rest = name.removeprefix("backbone_net.").removeprefix("net.")
    if layout == "backbone":
        return rest
    return f"trunk.0.{rest}"


def _split_name(part: str, name: str) -> str:
    """MMDetection3D's name, `conv_cls` or `conv_reg`, for a part of our `pnet.conv3`."""
    return f"{_HEAD}.conv_{part}.{name.rsplit('.', 1)[1]}"


def _joined_head(state: Mapping[str, Tensor], *, clockwise: bool) -> dict[str, Tensor]:
    """`pnet.conv3.*`: objectness 2 | regression | classes NC."""
    joined = {}
    for name in ("pnet.conv3.weight", "pnet.conv3.bias"):
        scores, regressed = (state.get(_split_name(part, name)) for part in ("cls", "reg"))
        if scores is None or regressed is None:
            continue
        channels = [tensor.shape[0] if tensor.ndim else 0 for tensor in (scores, regressed)]
        classes = channels[0] - 2
        doubled = channels[1] - 3 - 4 * classes
        if classes < 1 or doubled < 2 or doubled % 2 or scores.shape[1:] != regressed.shape[1:]:
            raise ValueError(
                f"{_HEAD} has {channels[0]} and {channels[1]} channels; expected 2 + classes and "
                "3 + 2 * heading bins + 4 * classes"
            )
        whole = torch.cat([scores[:2], regressed, scores[2:]])
        joined[name] = whole if clockwise else mirror_headings(whole, doubled // 2)
    return joined


def _split_head(
    name: str, whole: Tensor, num_classes: int, num_heading_bins: int, *, clockwise: bool
) -> dict[str, Tensor]:
    """Split our last layer into MMDetection3D's two."""
    channels = whole.shape[0] if whole.ndim else 0
    sizes, rest = divmod(channels - 5 - 2 * num_heading_bins - num_classes, 4)
    if sizes < 1 or rest:
        raise ValueError(
            f"{name} has {channels} channels, not those of {num_classes} classes and {num_heading_bins} heading bins"
        )
    whole = whole if clockwise else mirror_headings(whole, num_heading_bins)
    end = channels - num_classes
    return {
        _split_name("cls", name): torch.cat([whole[:2], whole[end:]]),
        _split_name("reg", name): whole[2:end].clone(),
    }
