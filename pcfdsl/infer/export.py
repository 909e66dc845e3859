"""Trained networks as files that run without this package: ONNX, and programs of torch.export.

A file is written only if it gives what the network gives. While a network is exported, its point operators are graphs
of plain operators with the indices of their twins (`ops.backends.graph`).
"""

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pcfdsl.infer.exportable import Exportable, load_exportable
from pcfdsl.store.atomic import write_file

__all__ = ["ABOUT", "Comparison", "ExportFormat", "compare", "export_model"]

ExportFormat = Literal["onnx", "exported"]

ABOUT = "about.json"  # the extra file of a program of torch.export; an ONNX file has metadata_props instead
_SUFFIXES = {"onnx": ".onnx", "exported": ".pt2"}
_TOLERANCE = 1e-3  # a millimetre, or a thousandth of the largest output where that is above 1
_LARGEST_FILE = 2**31  # what Protocol Buffers can write

Runner = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Comparison:
    """How far a file is from its network.

    Attributes:
        largest_difference: Of any output, over the rows that agree.
        num_rows: Proposals or pictures that were compared.
        num_apart: How many do not agree.
    """

    largest_difference: float
    num_rows: int
    num_apart: int


def export_model(path: str | Path, out: str | Path, *, format: ExportFormat = "onnx") -> dict[str, Any]:
    """Write a trained network as a file for others, once it was compared with the network.

    Args:
        path: A run's folder (its best weights, else its last), one of its .safetensors files, or shipped weights.
        out: FILE.onnx or FILE.pt2.
        format: "onnx", compared by onnxruntime on the CPU, or "exported", a program that `torch.export.load` loads.

    Returns:
        What a tool prints: the file, its inputs and outputs, how far they are from the network's.

    Raises:
        ImportError: If a package is missing.
        OSError, ValueError: If there is no such network, it cannot be exported, or the file would differ from it.
    """
    if Path(out).suffix != _SUFFIXES[format]:
        raise ValueError(f"{out} does not end in {_SUFFIXES[format]}, as files of the format {format} do; rename it")
    exportable = load_exportable(path)
    with torch.no_grad():
        content, run = (_onnx_file if format == "onnx" else _program_file)(exportable)
        found = compare(exportable, run)
        shapes = [output.shape for output in exportable(exportable.examples[0])]
    if found.num_apart > exportable.undecided * found.num_rows:
        raise ValueError(
            f"{path} as {format} gives other results than the network: {found.num_apart} of {found.num_rows} rows "
            f"differ by more than {_TOLERANCE:g}; nothing was written. Try the other format, or other versions of "
            "torch, onnx and onnxruntime"
        )
    write_file(out, content)
    batch = ["batch"] if exportable.any_batch else [1]
    return {
        "file": str(out),
        "bytes": len(content),
        "input": {exportable.input: [*batch, *exportable.examples[0].shape[1:]]},
        "outputs": {name: [*batch, *shape[1:]] for name, shape in zip(exportable.outputs, shapes, strict=True)},
        "largest_difference": found.largest_difference,
        "rows_compared": found.num_rows,
        "rows_apart": found.num_apart,
    }


def compare(exportable: Exportable, run: Runner) -> Comparison:
    """Compare what `run` gives with what the network gives on all examples.

    A row, a proposal or a picture, agrees if every number does within a thousandth (of the largest output, where that
    is above 1). Rounding alone decides which of two heading bins, nearly equally likely, a box takes, or whether a
    vote on the rim of a ball belongs to a cluster: some few proposals in a hundred thousand may then not agree.
    """
    largest, num_rows, num_apart = 0.0, 0, 0
    for example in exportable.examples:
        given, differences = run(example), []
        for name, expected, found in zip(exportable.outputs, exportable(example), given, strict=True):
            difference = expected.double() - found.double()
            if name == "boxes":  # yaws of pi and -pi are one
                difference[..., 6] = torch.remainder(difference[..., 6] + math.pi, 2 * math.pi) - math.pi
            relative = difference.abs() / max(1.0, float(expected.abs().max()))
            differences.append(relative.reshape(math.prod(relative.shape[: exportable.row_dims]), -1))
        worst = torch.cat(differences, 1).amax(1)
        agree = worst <= _TOLERANCE  # what is not a number agrees with nothing
        num_rows += len(agree)
        num_apart += int((~agree).sum())
        largest = max([largest, *worst[agree].tolist()])
    return Comparison(largest, num_rows, num_apart)


def _onnx_file(exportable: Exportable) -> tuple[bytes, Runner]:
    try:
        import onnxruntime
        from onnxscript import optimizer
    except ImportError as error:
        raise ImportError("ONNX needs onnx, onnxscript and onnxruntime: pip install 'pcfdsl[onnx]'") from error
    if sum(tensor.nbytes for tensor in exportable.module.state_dict().values()) > _LARGEST_FILE:
        raise ValueError("the weights are over 2 GiB, more than one ONNX file can hold; use the format exported")
    written = torch.onnx.export(
        _program(exportable),
        input_names=[exportable.input],
        output_names=exportable.outputs,
        dynamo=True,
        optimize=False,  # torch's optimisation takes constants below 1e-8, such as those that guard a division, for 0
        verbose=False,
    )
    assert written is not None
    model = written.model
    optimizer.inline(model)
    for _ in range(2):
        optimizer.fold_constants(model)
        optimizer.remove_unused_nodes(model)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # where in whose files the code stands
    model.metadata_props.clear()
    model.metadata_props.update(exportable.about)
    model.producer_name, model.producer_version = exportable.about["producer"].split()
    content = written.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda example: [
        torch.from_numpy(output) for output in session.run(None, {exportable.input: example.numpy()})
    ]


def _program_file(exportable: Exportable) -> tuple[bytes, Runner]:
    program = _program(exportable)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # where in whose files the code stands
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={ABOUT: json.dumps(dict(exportable.about))})
    reloaded = torch.export.load(io.BytesIO(file.getvalue())).module()

    def run(example: Tensor) -> Sequence[Tensor]:
        given = reloaded(example)
        return (given,) if isinstance(given, Tensor) else given

    return file.getvalue(), run


def _program(exportable: Exportable) -> torch.export.ExportedProgram:
    shapes = ({0: torch.export.Dim("batch", min=1)},) if exportable.any_batch else None
    return torch.export.export(exportable.module, (exportable.examples[0],), dynamic_shapes=shapes, strict=False)
