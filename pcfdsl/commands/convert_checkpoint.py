"""Convert checkpoints of VoteNet, TR3D, MMDetection3D, PointContrast, CSC and DepthContrast to ours, and back."""

import argparse
import sys
from typing import get_args

__all__ = ["main"]


def main() -> None:
    from pcfdsl.checkpoints.layouts import LAYOUTS
    from pcfdsl.checkpoints.weights import Headings
    from pcfdsl.infer.convert import export_checkpoint, import_checkpoint

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="their weights file; with --to, a run's folder or a .safetensors file of ours")
    parser.add_argument("out", help="the .safetensors file to write; with --to, their file")
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument("--from", dest="layout", choices=LAYOUTS, help="layout of the source (default: detect it)")
    direction.add_argument("--to", choices=LAYOUTS, help="write ours for another project; backbone: PointContrast, CSC")
    parser.add_argument(
        "--headings",
        choices=get_args(Headings),
        default="auto",
        help="which way headings turn in MMDetection3D: clockwise before its version 1.0 (auto: by the file's version)",
    )
    args = parser.parse_args()
    if args.to:
        headings = "counterclockwise" if args.headings == "auto" else args.headings
        report = export_checkpoint(args.source, args.out, layout=args.to, headings=headings)
    else:
        report = import_checkpoint(args.source, args.out, layout=args.layout, headings=args.headings)
    for name in report.unmatched:
        print(f"left out, has no counterpart: {name}", file=sys.stderr)
    print(report.to_json())
