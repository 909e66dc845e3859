"""Convert checkpoints of VoteNet, MMDetection3D, PointContrast, CSC and DepthContrast to ours, and ours to theirs."""

import argparse
import sys
from typing import get_args

from pcfdsl.checkpoints.convert import LAYOUTS
from pcfdsl.checkpoints.published import Headings, export_checkpoint, import_checkpoint
from pcfdsl.command_line import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="their .tar or .pth; with --to, a run's folder or a .safetensors file")
    parser.add_argument("out", help="the .safetensors file to write; with --to, their file")
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument("--from", dest="layout", choices=LAYOUTS, help="layout of the source (default: find out)")
    direction.add_argument("--to", choices=LAYOUTS, help="write ours for another code; backbone: PointContrast, CSC")
    parser.add_argument(
        "--headings",
        choices=get_args(Headings),
        default="auto",
        help="which way MMDetection3D's turn: clockwise before its version 1.0 (auto: as the file's version says)",
    )
    args = parser.parse_args()
    if args.to:
        headings = "counterclockwise" if args.headings == "auto" else args.headings
        report = export_checkpoint(args.source, args.out, layout=args.to, headings=headings)
    else:
        report = import_checkpoint(args.source, args.out, layout=args.layout, headings=args.headings)
    for name in report.unmatched:
        print(f"left out, no place for it: {name}", file=sys.stderr)
    print(report.to_json())


if __name__ == "__main__":
    run(main)
