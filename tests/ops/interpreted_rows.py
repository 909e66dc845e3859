"""The Triton kernels of rows in Triton's interpreter against the torch forms in float64; prints JSON.

They take the place of the CPU's kernels, so that the operators and their gradients are run as on a GPU. Run by
test_triton_rows.py in a process of its own: TRITON_INTERPRET=1 has to be set before anything imports Triton.
"""

import itertools
import json

import torch
from torch import Tensor

from pcfdsl.ops import rows as operators
from pcfdsl.ops.rows import norm_relu, norm_relu_max, norm_relu_max_torch, norm_relu_torch

EPS = 1e-5
# Rows of each neighbourhood: mixed lengths around a tile of 16, with empty ones; one row; empty ones at the end.
NEIGHBORHOODS = ([3, 1, 0, 16, 17, 40, 0, 5], [1], [12, 0, 0], [33, 64, 1, 1, 1, 20] * 3)


def starts_of(lengths: list[int]) -> Tensor:
    return torch.nn.functional.pad(torch.tensor(lengths).cumsum(0), (1, 0))


def inputs(num_rows: int, num_channels: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows far from the origin, as a naive sum of squares would not survive; weights of both signs; multiplicities."""
    rows = torch.randn((num_rows, num_channels), generator=generator) + 30 * torch.rand(
        num_channels, generator=generator
    )
    weight = torch.rand(num_channels, generator=generator) - 0.3
    multiplicity = torch.randint(1, 9, (num_rows,), generator=generator).float()
    return rows, weight, torch.randn(num_channels, generator=generator), multiplicity


def results(operator, leaves: list[Tensor], grad: Tensor, **settings) -> tuple[Tensor, ...]:
    """Output, statistics, and gradients of rows, weight and bias, of a sum of outputs weighted by `grad`."""
    leaves = [leaf.requires_grad_() for leaf in leaves]
    out, used = operator(*leaves, eps=EPS, **settings)
    return out.detach(), used, *torch.autograd.grad(out, leaves, grad.to(out.dtype))


def comparisons(generator: torch.Generator):
    """Yields (name, what the kernels give, what the torch form gives in float64)."""
    parts = ("output", "statistics", "gradient of rows", "gradient of weight", "gradient of bias")
    for lengths, num_channels, is_given in itertools.product(NEIGHBORHOODS, (1, 7, 64, 130), (False, True)):
        rows, weight, bias, multiplicity = inputs(sum(lengths), num_channels, generator)
        given = torch.stack([rows.mean(0), 0.5 + torch.rand(num_channels, generator=generator)]) if is_given else None
        for fast, form, extra, num_out in (
            (norm_relu, norm_relu_torch, {}, len(rows)),
            (norm_relu_max, norm_relu_max_torch, {"starts": starts_of(lengths)}, len(lengths)),
        ):
            grad = torch.randn((num_out, num_channels), generator=generator)
            settings = {"multiplicity": multiplicity, "statistics": given, **extra}
            mine = results(fast, [rows.clone(), weight.clone(), bias.clone()], grad, **settings)
            settings |= {"multiplicity": multiplicity.double(), "statistics": None if given is None else given.double()}
            wanted = results(form, [rows.double(), weight.double(), bias.double()], grad, **settings)
            name = f"{lengths}, C={num_channels}, statistics {'given' if is_given else 'of the rows'}"
            for part, a, b in zip(parts, mine, wanted, strict=True):
                yield f"{fast.__name__}, {part}, {name}", a, b


def exact_cases(generator: torch.Generator):
    """Yields (name, what the kernels give, what they must give to the last bit)."""
    rows, weight, bias, multiplicity = inputs(70, 5, generator)
    rows, starts = rows[torch.arange(70) % 9], starts_of([40, 30])  # every value comes back several times
    settings = {"multiplicity": multiplicity, "eps": EPS}
    values, used = norm_relu(rows, weight, bias, **settings)
    out, _, winner = torch.ops.pcfdsl.norm_relu_max(rows, weight, bias, starts, multiplicity, EPS, None)
    firsts = torch.stack([part.argmax(0) for part in values.split([40, 30])]) + torch.tensor([[0], [40]])
    yield "of equal rows the first wins", winner[out > 0].long(), firsts[out > 0]
    yield "the maximum is that of the values", out, torch.stack([part.amax(0) for part in values.split([40, 30])])
    rows[50, 2] = torch.nan
    out, _ = norm_relu_max(rows, weight, bias, starts=starts, statistics=used, **settings)
    expected = torch.zeros(2, 5, dtype=torch.bool)
    expected[1, 2] = True
    yield "a value that is not a number stays visible", out.isnan(), expected


if __name__ == "__main__":
    operators._norm_relu.register_kernel("cpu")(operators._norm_relu_triton)
    operators._norm_relu_backward.register_kernel("cpu")(operators._norm_relu_backward_triton)
    operators._norm_relu_max.register_kernel("cpu")(operators._norm_relu_max_triton)
    operators._norm_relu_max_backward.register_kernel("cpu")(operators._norm_relu_max_backward_triton)
    random = torch.Generator().manual_seed(0)
    errors = [
        (name, float((mine.double() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-3)))
        for name, mine, wanted in comparisons(random)
    ]
    unequal = [name for name, mine, wanted in exact_cases(random) if not torch.equal(mine, wanted)]
    print(json.dumps({"errors": errors, "unequal": unequal}))
