"""A strict device that behaves towards our code as a GPU does and computes on the CPU, for machines without a GPU.

Tensors on it are on no "cpu" device, so every branch for other devices is taken. As on CUDA, operators refuse tensors
of two devices, our own operators refuse to run without a CUDA kernel, and `.numpy()` refuses as well. Kernel launches,
bytes moved, synchronisations of host and device, and uploads are counted by the line of the package that causes them.

It rests on torch's experimental Python backends (`PrivateUse1`) and changes the process it is installed in, so tests
run it in a process of their own. It knows nothing of races, streams, real memory, autocast or the rounding of a GPU.
"""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import pcfdsl

PACKAGE = f"{Path(pcfdsl.__file__).parent}/"

__all__ = ["FREE", "NAME", "Ledger", "Pretending", "ledger"]

NAME = "pretend"

# What waits for the device: the host needs a number, or a size, that only the device knows.
_UNIQUE = ("_unique", "_unique2", "unique_dim", "unique_consecutive")
_WAITS = frozenset(
    ["_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "bincount", *_UNIQUE]
)
# What launches nothing: views, and memory that is only asked for.
_VIEWS = ["view", "_unsafe_view", "_reshape_alias", "as_strided", "alias", "detach", "expand", "select", "slice"]
_VIEWS += ["narrow", "transpose", "t", "permute", "movedim", "unsqueeze", "squeeze", "unbind", "split"]
_VIEWS += ["split_with_sizes", "unfold", "diagonal", "lift_fresh", "is_same_size"]
FREE = frozenset([*_VIEWS, "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"])
# Kernels that one call of an operator launches on CUDA, as far as it is more than one; guesses after its sources.
_KERNELS = {
    **dict.fromkeys(("sort", "argsort"), 6),
    **dict.fromkeys(("_unique", "_unique2", "unique_consecutive"), 8),
    **dict.fromkeys(("unique_dim",), 12),
    **dict.fromkeys(("topk", "bincount"), 4),
    **dict.fromkeys(("nonzero", "repeat_interleave"), 3),
    **dict.fromkeys(("cumsum", "index_put_", "_index_put_impl_", "native_batch_norm", "native_batch_norm_backward"), 2),
}
_INDEXING = frozenset(("index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_"))
_NO_SCALARS = frozenset(("cat", "stack", "mm", "bmm", "addmm", "index_select", "gather"))


@dataclass
class Ledger:
    """What was asked of the device, by line of the package ("models/losses.py:88"); see the module."""

    launches: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    uploads: Counter[str] = field(default_factory=Counter)
    num_bytes: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Forget everything counted so far."""
        for counter in vars(self).values():
            counter.clear()

    def by_line(self) -> dict[str, dict[str, int]]:
        """A copy of the counts."""
        return {name: dict(counter) for name, counter in vars(self).items()}


ledger = Ledger()


class PretendTensor(torch.Tensor):
    """A tensor on the pretend device; what it holds lies on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "PretendTensor":
        """Wrap a CPU tensor."""
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device(NAME, 0),
        )
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    # Torch forbids these three to wrapper subclasses; CUDA tensors are copied to the CPU for them, or on the device.
    def tolist(self):
        return self.cpu().tolist()

    def __reduce_ex__(self, protocol):
        ledger.waits[_line()] += 1
        return self.held.detach().__reduce_ex__(protocol)

    def __deepcopy__(self, memo):
        return PretendTensor(self.held.detach().clone()).requires_grad_(self.requires_grad)

    def __repr__(self, *, tensor_contents=None):
        return f"PretendTensor({self.held!r})"


class Pretending(TorchDispatchMode):
    """Context in which `torch.device("pretend")` exists. There is no way back out for the process."""

    def __enter__(self):
        if torch._C._get_privateuse1_backend_name() != NAME:
            backend_registration._setup_privateuseone_for_python_backend(NAME)
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) goes through this mode as well
        torch.autograd.set_multithreading_enabled(False)  # backward passes stay in the thread that has the mode
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    target = kwargs.get("device")
    target = None if target is None else torch.device(target).type
    if not ours and target != NAME:
        return func(*args, **kwargs)
    name, line = func._schema.name.split("::")[1], _line()
    if func.namespace == "pcfdsl" and not torch._C._dispatch_has_kernel_for_dispatch_key(func._schema.name, "CUDA"):
        raise NotImplementedError(f"{func} has no CUDA kernel, called at {line}")
    if ours and name not in ("_to_copy", "copy_"):
        _refuse_mixture(func, name, line, tensors)

    def on_cpu(leaf: Any) -> Any:
        return leaf.held if isinstance(leaf, PretendTensor) else leaf

    cpu_args, cpu_kwargs = tree_map(on_cpu, args), tree_map(on_cpu, kwargs)
    if target == NAME:
        cpu_kwargs = {**cpu_kwargs, "device": torch.device("cpu")}
        cpu_kwargs.pop("pin_memory", None)
    out = func(*cpu_args, **cpu_kwargs)
    _count(name, line, args, kwargs, target, ours, out)
    returns = func._schema.returns
    if func._schema.is_mutable and len(returns) == 1 and returns[0].alias_info is not None:
        changed = kwargs["out"] if "out" in kwargs else args[0]
        if torch.Tag.inplace_view in func.tags:  # squeeze_ and the like: the wrapper's own shape has to follow
            with no_dispatch():
                func(*args, **kwargs)
        return changed
    if target == "cpu" or (name == "copy_" and not isinstance(args[0], PretendTensor)):
        return out
    return tree_map(lambda leaf: PretendTensor(leaf) if isinstance(leaf, torch.Tensor) else leaf, out)


def _refuse_mixture(func: Any, name: str, line: str, tensors: list[torch.Tensor]) -> None:
    for tensor in tensors:
        if isinstance(tensor, PretendTensor) or (tensor.ndim == 0 and name not in _NO_SCALARS):
            continue
        if name in _INDEXING:
            ledger.uploads[line] += 1  # CUDA takes indices of the CPU, and copies them
            continue
        raise RuntimeError(
            f"Expected all tensors to be on the same device: {func} at {line} got a CPU tensor {list(tensor.shape)}"
        )


def _count(name, line, args, kwargs, target, ours, out) -> None:
    if name == "_to_copy" and target == NAME and not ours:
        ledger.uploads[line] += 1
    if name == "copy_" and not isinstance(args[1], PretendTensor):
        ledger.uploads[line] += 1
    downloads = (name == "_to_copy" and target == "cpu") or (name == "copy_" and not isinstance(args[0], PretendTensor))
    by_mask = name in _INDEXING and any(
        index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
    )
    unsized = name == "repeat_interleave" and kwargs.get("output_size") is None
    if name in _WAITS or downloads or by_mask or unsized:
        ledger.waits[line] += 1
    if name in FREE:
        return
    ledger.launches[line] += _KERNELS.get(name, 1)
    written = sum(leaf.nbytes for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor))
    if name in ("index_select", "gather", "index"):
        ledger.num_bytes[line] += 2 * written
    else:  # an expanded tensor is read once, however large its shape
        read = sum(min(tensor.held.nbytes, tensor.held.untyped_storage().nbytes()) for tensor in ours)
        ledger.num_bytes[line] += written + read


def _line() -> str:
    """Innermost line of the package that is being executed."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            return f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back
    return "torch (backward pass, optimiser)"
