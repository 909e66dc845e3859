"""Write a trained VoteNet or image network as ONNX or as a program of torch.export, compared with the network."""

import argparse
from typing import get_args

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.infer.export import ExportFormat, export_model

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="a run's folder (its best checkpoint is used), or one of its .safetensors files"
    )
    parser.add_argument("--format", choices=get_args(ExportFormat), default="onnx", help="default: onnx")
    parser.add_argument("--out", metavar="FILE", required=True, help="FILE.onnx, or FILE.pt2 for exported")
    args = parser.parse_args()
    return export_model(args.checkpoint, args.out, format=args.format)
