"""The repeating unit of the networks, a 1x1 convolution with batch norm and ReLU, as a matrix product over rows.

Modules hold their parameters in the names and shapes of the published networks, so that their weights load as they are.
"""

import itertools
from collections.abc import Iterable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pcfdsl.models.batch_norm import RowNormReLU
from pcfdsl.ops.neighborhoods import NeighborRows

__all__ = ["SharedMLP", "freeze", "linear"]


def linear(rows: Tensor, convolution: nn.Conv1d | nn.Conv2d) -> Tensor:
    """A 1x1 convolution over the last dimension: [..., C_in] -> [..., C_out]."""
    return F.linear(rows, convolution.weight.flatten(1), convolution.bias)


class SharedMLP(nn.Module):
    """1x1 convolutions, each with batch norm and ReLU, over rows.

    Args:
        widths: Channels of the input and of each layer's output.
    """

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        for i in range(len(widths) - 1):
            self.add_module(f"layer{i}", _Layer(widths[i], widths[i + 1]))

    def forward(self, rows: Tensor, neighborhoods: NeighborRows | None = None) -> Tensor:
        """[R, C_in] -> [R, C_out], or with `neighborhoods` the maximum over each, [S, C_out]."""
        return self.after_first_product(linear(rows, self.layers[0].conv), neighborhoods)

    def after_first_product(self, rows: Tensor, neighborhoods: NeighborRows | None = None) -> Tensor:
        """What follows the first convolution, for callers who apply that one themselves."""
        multiplicity = None if neighborhoods is None else neighborhoods.multiplicity
        for layer, following in itertools.pairwise(self.layers):
            rows = linear(layer.norm(rows, multiplicity), following.conv)
        return self.layers[-1].norm(rows, neighborhoods=neighborhoods)

    @property
    def layers(self) -> "list[_Layer]":
        """The layers in order."""
        return list(self.children())  # type: ignore[arg-type]


class _Layer(nn.Module):
    def __init__(self, num_inputs: int, num_outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(num_inputs, num_outputs, 1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)
        self.bn = nn.Sequential()
        self.bn.add_module("bn", RowNormReLU(num_outputs))

    @property
    def norm(self) -> RowNormReLU:
        """Batch norm and ReLU; the released code nests it twice."""
        return self.bn.bn  # type: ignore[return-value]


def freeze(module: nn.Module, prefixes: Iterable[str]) -> None:
    """Stop training the parts of the given names: no gradients, and batch norm in evaluation mode.

    `module.train()` puts batch norm back into training mode, so call this after it.

    Args:
        module: The network.
        prefixes: Dotted names of submodules, such as "backbone_net.sa1", or of single parameters.

    Raises:
        ValueError: If the network has no submodule of such a name.
    """
    submodules, parameters = dict(module.named_modules()), dict(module.named_parameters())
    for prefix in prefixes:
        if prefix in parameters:
            parameters[prefix].requires_grad_(False)
        elif prefix in submodules:
            submodules[prefix].eval().requires_grad_(False)
        else:
            raise ValueError(
                f"cannot freeze {prefix!r}: no such part; parts are {', '.join(dict(module.named_children()))}"
            )
