"""What the Triton kernels of rows and sparse convolutions save: `python tests/benchmarks/bench_kernels.py`.

Without a GPU it counts: how much of what a tile computes is needed, and the launches, waits of the host and bytes of
plain torch and of the kernels (whose launches are counted, not made). With one it times every operator, too.

Bytes are those of the tensors that operators and kernels name, each once. A gathered row is counted once however many
rows meet it, as if the caches kept it, so the bytes of implicit products are the least that there can be.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1] / "pretend"))
from device import FREE  # type: ignore[import-not-found]

from pcfdsl.formula.search import SearchConfig
from pcfdsl.models.batch_norm import RowNormReLU
from pcfdsl.models.srunet import SRUNet, SRUNetConfig
from pcfdsl.ops import rows as row_operators
from pcfdsl.ops.grouping import ball_query
from pcfdsl.ops.neighborhoods import NeighborRows, neighbor_rows
from pcfdsl.ops.rows import norm_relu, norm_relu_max, norm_relu_max_torch, norm_relu_torch
from pcfdsl.ops.sampling import farthest_point_sample
from pcfdsl.ops.sparse import convolution, kernel_map, layers, quantize
from pcfdsl.ops.sparse.coordinates import pack
from pcfdsl.ops.sparse.implicit_gemm import TILE
from pcfdsl.ops.sparse.kernels import find_pairs_torch
from pcfdsl.ops.sparse.voxels import TorchVoxels, TritonVoxels
from pcfdsl.pointcloud.pcfractal import PCFractalConfig
from pcfdsl.scene.config import FractalScenesConfig
from pcfdsl.scene.synthesize import FractalScenes

VOXEL_SIZE, NUM_LEVELS = 0.025, 5
_WAITS = {"_local_scalar_dense", "nonzero", "_unique2", "bincount", "repeat_interleave"}


def scenes(num_scenes: int) -> Tensor:
    """[B, 20000, 3] points of fractal scenes."""
    fractals = PCFractalConfig(num_categories=32, search=SearchConfig(variance_threshold=0.05))
    made = FractalScenes(FractalScenesConfig(fractals=fractals))
    return torch.stack([torch.from_numpy(made[i].points[:, :3]).float() for i in range(num_scenes)])


def voxels_of(points: Tensor) -> Tensor:
    """[V, 4], sorted."""
    batch_idx = torch.arange(len(points), device=points.device).repeat_interleave(points.shape[1])
    coordinates, _, _ = quantize(points.flatten(0, 1).contiguous(), VOXEL_SIZE, batch_idx=batch_idx)
    return coordinates[pack(coordinates).argsort()]


def neighborhoods_of(points: Tensor) -> NeighborRows:
    """Of PointNet++'s first level."""
    chosen = farthest_point_sample(points, 2048)
    centers = points.gather(1, chosen[..., None].expand(-1, -1, 3))
    return neighbor_rows(*ball_query(points, centers, 0.2, 64), num_points=points.shape[1])


def computed_over_needed(coordinates: Tensor) -> Iterator[tuple[int, int, float, dict[str, float]]]:
    """Yields for each level its stride, voxels, neighbours of a voxel, and the ratio of each kind of kernel."""
    level = TritonVoxels.of(coordinates)
    for _ in range(NUM_LEVELS):
        down, up = level.meetings(2, level.coarser(2))
        kinds = {"3^3": level.meetings(3, level)[0].table, "2^3 down": down.table, "2^3 up": up.table}
        met = {name: int((table.rows >= 0).sum()) for name, table in kinds.items()}
        ratios = {name: int(table.num_offsets.sum()) * TILE / met[name] for name, table in kinds.items()}
        yield level.stride, len(level.coordinates), met["3^3"] / len(level.coordinates), ratios
        level = level.coarser(2)


@dataclass
class Ledger(TorchDispatchMode):
    """Counts what a GPU would be asked. An operator is one launch, though sorting and the like are several."""

    launches: int = 0
    moved: int = 0
    waited_for: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in _WAITS and not (kwargs or {}).get("output_size"):
            self.waited_for.append(name)
        if name not in FREE and func.namespace == "aten":
            self._add(*tree_leaves((args, kwargs, out)))
        return out

    def launch(self, kernel: Any, grid: Any, *arguments: Any, **constants: Any) -> None:
        """In place of a Triton launch."""
        self._add(*arguments)

    def _add(self, *values: Any) -> None:
        self.launches += 1
        self.moved += sum(value.nbytes for value in values if isinstance(value, Tensor))

    def __str__(self) -> str:
        return f"{self.launches:6} launches {len(self.waited_for):4} waits {self.moved / 1e9:8.2f} GB"


@contextlib.contextmanager
def ledger(*, kernels: bool) -> Iterator[Ledger]:
    """Counts what CUDA would be asked by code that runs on the CPU, with the Triton kernels or in plain torch."""
    from pcfdsl.ops.backends import triton_rows, triton_sparse

    def add_rows(out: Tensor, idx: Tensor, rows: Tensor) -> None:
        out.index_add_(0, idx, rows.to(out.dtype))

    counted, tolist = Ledger(), Tensor.tolist

    def numbers(tensor: Tensor) -> list:
        counted.waited_for.append("tolist")
        return tolist(tensor)

    with contextlib.ExitStack() as stack:
        for target, name, replacement in (
            (Tensor, "tolist", numbers),
            (convolution, "add_rows", add_rows),
            (kernel_map, "find_pairs", find_pairs_torch),
            (layers, "_chosen", lambda *_: "triton" if kernels else "torch"),
            (triton_rows, "_launch", counted.launch),
            (triton_sparse, "_launch", counted.launch),
            (row_operators, "_has_kernels", lambda _: kernels),
        ):
            stack.enter_context(mock.patch.object(target, name, replacement))
        for operator in ("_norm_relu", "_norm_relu_backward", "_norm_relu_max", "_norm_relu_max_backward"):
            registered = getattr(row_operators, operator)._backend_fns
            stack.enter_context(mock.patch.dict(registered, cpu=registered["cuda"]))
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(counted)
        yield counted


def count_srunet(coordinates: Tensor, *, kernels: bool, autocast: bool) -> dict[str, Ledger]:
    """Of SR-UNet forwards and backwards, kernel maps included."""
    network = SRUNet(SRUNetConfig())
    features = torch.ones(len(coordinates), 3)
    with ledger(kernels=kernels) as forward, torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        out = network(coordinates, features).float()
    with ledger(kernels=kernels) as backward:
        out.sum().backward()
    return {"forward": forward, "backward": backward}


def count_rows(neighborhoods: NeighborRows, *, kernels: bool, num_channels: int = 64) -> dict[str, Ledger]:
    """Of two layers' norms, the second with the maximum."""
    norm, norm_max = RowNormReLU(num_channels), RowNormReLU(num_channels)
    rows = torch.randn(len(neighborhoods.point_idx), num_channels, requires_grad=True)
    with ledger(kernels=kernels) as forward:
        out = norm_max(norm(rows, neighborhoods.multiplicity), neighborhoods=neighborhoods)
    with ledger(kernels=kernels) as backward:
        out.sum().backward()
    return {"forward": forward, "backward": backward}


def comparisons(device: str) -> Iterator[tuple[str, Callable[[], Any], Callable[[], Any]]]:
    """Yields (name, what runs, what it is compared with): forward and backward at the sizes of training.

    On CUDA the Triton kernels against plain torch; on the CPU what runs there (for rows numba's kernels).
    """
    points = scenes(8).to(device)
    neighborhoods, coordinates = neighborhoods_of(points), voxels_of(points)
    for num_channels in (64, 128):
        rows = torch.randn(len(neighborhoods.point_idx), num_channels, device=device, requires_grad=True)
        weight, bias = (torch.ones(num_channels, device=device, requires_grad=True) for _ in range(2))
        settings = {"multiplicity": neighborhoods.multiplicity, "eps": 1e-5}
        for name, fast, form, extra in (
            ("norm + ReLU", norm_relu, norm_relu_torch, {}),
            ("norm + ReLU + max", norm_relu_max, norm_relu_max_torch, {"starts": neighborhoods.starts}),
        ):

            def run(operator, rows=rows, weight=weight, bias=bias, settings=settings, extra=extra):
                out, _ = operator(rows, weight, bias, **settings, **extra)
                return torch.autograd.grad(out.sum(), (rows, weight, bias))

            yield (
                f"{name}, {len(rows):,} x {num_channels}",
                lambda run=run, fast=fast: run(fast),
                lambda run=run, form=form: run(form),
            )
    kind = TritonVoxels if device == "cuda" else TorchVoxels
    fast, twin = kind.of(coordinates), TorchVoxels.of(coordinates)
    for level, channels in ((1, 32), (2, 64), (4, 128), (8, 256)):
        for dtype in (torch.float32, torch.bfloat16):
            features = torch.randn(len(twin.coarser(level).coordinates), channels, device=device, dtype=dtype)
            weight = torch.randn(27, channels, channels, device=device, dtype=dtype)
            leaves = features.requires_grad_(), weight.requires_grad_()

            def convolve(voxels, leaves=leaves, level=level):
                out = voxels.coarser(level).convolve(*leaves, kernel_size=3, stride=1, region="hybrid")
                return torch.autograd.grad(out.sum(), leaves)

            yield (
                f"3^3 convolution, {len(features):,} x {channels} -> {channels}, {dtype}",
                lambda convolve=convolve: convolve(fast),
                lambda convolve=convolve: convolve(twin),
            )
    yield (
        "kernel maps of SR-UNet",
        lambda: [list(level_maps(TritonVoxels.of(coordinates), "meetings"))],
        lambda: [list(level_maps(TorchVoxels.of(coordinates), "kernel_map"))],
    )


def level_maps(voxels: Any, method: str) -> Iterator[Any]:
    """Every map of SR-UNet."""
    for _ in range(NUM_LEVELS - 1):
        yield getattr(voxels, method)(3, 1)
        yield getattr(voxels, method)(2, 2)
        voxels = voxels.coarser(2)
    yield getattr(voxels, method)(3, 1)


def milliseconds(run: Callable[[], Any], device: str, repeats: int) -> float:
    """The shortest of several runs, after one that compiles."""
    times = []
    for _ in range(repeats + 1):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scenes", type=int, default=2, help="to count with")
    parser.add_argument("--time", action="store_true", help="time the operators, too (always done on CUDA)")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    points = scenes(arguments.scenes)
    coordinates, neighborhoods = voxels_of(points), neighborhoods_of(points)
    print(f"{arguments.scenes} fractal scenes, {len(coordinates):,} voxels, {len(neighborhoods.point_idx):,} rows")
    print("stride   voxels  neighbours  computed / needed")
    for stride, num_voxels, neighbors, ratios in computed_over_needed(coordinates):
        shown = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        print(f"{stride:6} {num_voxels:8,} {neighbors:11.1f}  {shown}")
    for kernels in (False, True):
        name = "Triton" if kernels else "torch "
        for part, counted in count_rows(neighborhoods, kernels=kernels).items():
            print(f"two norms of rows, {name}, {part:8} {counted}")
        for autocast in (False, True):
            for part, counted in count_srunet(coordinates, kernels=kernels, autocast=autocast).items():
                print(f"SR-UNet, {name}, {'bfloat16' if autocast else 'float32 '} {part:8} {counted}")
                if counted.waited_for and not autocast:
                    print("    waits for " + ", ".join(counted.waited_for))
    if arguments.time or arguments.device == "cuda":
        for name, run, other in comparisons(arguments.device):
            fast, slow = (milliseconds(function, arguments.device, arguments.repeats) for function in (run, other))
            print(f"{name:55} {fast:8.2f} ms, torch {slow:8.2f} ms, {slow / fast:5.1f} times")


if __name__ == "__main__":
    main()
