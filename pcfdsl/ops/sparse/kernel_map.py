"""Which input voxel meets which output voxel under which weight of a kernel.

The conventions are those of MinkowskiEngine, so that its weights give its numbers: x runs fastest through a kernel; odd
kernels are centred, even ones start at the voxel itself; out[c] is the sum over k of in[c + offset_k * input stride] @
kernel[k].
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pcfdsl.ops.sparse.coordinates import shift_keys
from pcfdsl.ops.sparse.kernels import find_pairs

__all__ = ["KernelMap", "Region", "kernel_offsets", "match"]

Region = Literal["cube", "hybrid", "cross"]


@functools.cache
def kernel_offsets(kernel_size: int, region: Region = "cube") -> tuple[tuple[int, int, int], ...]:
    """Offsets (x, y, z) of a kernel's weights, in input voxels.

    Regions: "cube" is MinkowskiEngine's HYPER_CUBE. "hybrid" holds the same offsets in the order that version 0.4 gave
    region type HYBRID: the centre, then axis by axis all offsets so far with -1 and +1; PointContrast's residual
    blocks are stored in it. "cross" is what version 0.5 computes for HYPER_CROSS: the first 3 (K - 1) + 1 offsets of
    the cube, which is no cross, but is what weights trained with it mean.

    Raises:
        ValueError: If there is no such kernel.

    >>> kernel_offsets(2)[:4]
    ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0))
    >>> kernel_offsets(3, "hybrid")[:5]
    ((0, 0, 0), (-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0))
    """
    if kernel_size < 1:
        raise ValueError(f"kernel_size must be at least 1, got {kernel_size}")
    first = -(kernel_size // 2) if kernel_size % 2 else 0
    steps = range(first, first + kernel_size)
    cube = tuple((x, y, z) for z in steps for y in steps for x in steps)
    if region == "cube":
        return cube
    if region not in ("hybrid", "cross"):
        raise ValueError(f"region {region!r} is unknown; expected cube, hybrid or cross")
    if kernel_size % 2 == 0:
        raise ValueError(f"region {region!r} needs an odd kernel, got size {kernel_size}")
    if region == "cross":
        return cube[: 3 * (kernel_size - 1) + 1]
    offsets = [(0, 0, 0)]
    for axis in range(3):
        moved = []
        for offset in offsets:
            for step in steps:
                if step:
                    moved.append((*offset[:axis], step, *offset[axis + 1 :]))
        offsets += moved
    return tuple(offsets)  # type: ignore[return-value]


@dataclass(frozen=True)
class KernelMap:
    """Pairs of rows, grouped by kernel weight. No row occurs twice in a group, on either side.

    Attributes:
        in_idx, out_idx: [P] int64; rows of input and output voxels.
        groups: (start, stop) into the pairs, one per kernel weight.
        identity: The weight under which every voxel meets itself, or None; its group is left empty.
        num_in, num_out: Rows.
    """

    in_idx: Tensor
    out_idx: Tensor
    groups: tuple[tuple[int, int], ...]
    identity: int | None
    num_in: int
    num_out: int

    @functools.cached_property
    def transposed(self) -> "KernelMap":
        """The same pairs with input and output exchanged."""
        return KernelMap(self.out_idx, self.in_idx, self.groups, self.identity, self.num_out, self.num_in)

    @functools.cached_property
    def pairs(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Input rows and output rows of each weight's group; of those that have any, the identity's left out."""
        return {
            k: (self.in_idx[start:stop], self.out_idx[start:stop])
            for k, (start, stop) in enumerate(self.groups)
            if stop > start
        }

    def reordered(self, order: tuple[int, ...]) -> "KernelMap":
        """The map in which weight k is this one's weight order[k]."""
        identity = order.index(self.identity) if self.identity is not None and self.identity in order else None
        return dataclasses.replace(self, groups=tuple(self.groups[k] for k in order), identity=identity)

    def all_pairs(self) -> tuple[Tensor, Tensor]:
        """Input and output rows [P'] of all pairs, those of the identity included, in the order of the weights."""
        pairs = dict(self.pairs)
        if self.identity is not None:
            itself = torch.arange(self.num_in, device=self.in_idx.device)
            pairs[self.identity] = (itself, itself)
        in_idx, out_idx = zip(*(pairs[k] for k in sorted(pairs)), strict=True)
        return torch.cat(in_idx), torch.cat(out_idx)

    def shares(self, num_shares: int) -> list[list[int]]:
        """Weights dealt out so that each share has about as many pairs."""
        sizes = [self.num_in if k == self.identity else stop - start for k, (start, stop) in enumerate(self.groups)]
        shares: list[list[int]] = [[] for _ in range(num_shares)]
        totals = [0] * num_shares
        for k in sorted(range(len(sizes)), key=lambda k: -sizes[k]):
            least = totals.index(min(totals))
            shares[least].append(k)
            totals[least] += sizes[k]
        return shares


def match(
    in_keys: Tensor,
    out_keys: Tensor,
    *,
    offsets: tuple[tuple[int, int, int], ...],
    stride: int,
    in_order: Tensor | None = None,
    out_order: Tensor | None = None,
) -> KernelMap:
    """The map between two sets of voxels.

    Args:
        in_keys, out_keys: [V_in], [V_out] int64 packed coordinates, sorted. The same tensor for a kernel that keeps
            the voxels: then one of each pair of opposite offsets is searched for and the other follows from it.
        offsets: The kernel's, in input voxels.
        stride: Of the input's coordinates.
        in_order, out_order: Rows of the sorted keys; None where rows are sorted.
    """
    same = in_keys is out_keys
    searched = [
        k for k, offset in enumerate(offsets) if not same or (any(offset) and _opposite(offset) not in offsets[:k])
    ]
    shifts = shift_keys(torch.tensor([offsets[k] for k in searched]).view(-1, 3) * stride).to(in_keys.device)
    in_place, out_place, counts = find_pairs(in_keys, out_keys, shifts)
    in_rows = in_place if in_order is None else in_order[in_place]
    out_rows = out_place if out_order is None else out_order[out_place]
    bounds = [0, *counts.cumsum(0).tolist()]
    groups = {k: (bounds[i], bounds[i + 1]) for i, k in enumerate(searched)}
    identity = offsets.index((0, 0, 0)) if same and (0, 0, 0) in offsets else None
    if same:
        # The pairs of an opposite offset are these with their sides exchanged.
        for k, offset in enumerate(offsets):
            if k not in groups and k != identity:
                start, stop = groups[offsets.index(_opposite(offset))]
                groups[k] = (start + len(in_rows), stop + len(in_rows))
        in_rows, out_rows = torch.cat([in_rows, out_rows]), torch.cat([out_rows, in_rows])
    return KernelMap(
        in_idx=in_rows,
        out_idx=out_rows,
        groups=tuple(groups.get(k, (0, 0)) for k in range(len(offsets))),
        identity=identity,
        num_in=len(in_keys),
        num_out=len(out_keys),
    )


def _opposite(offset: tuple[int, int, int]) -> tuple[int, int, int]:
    return (-offset[0], -offset[1], -offset[2])
