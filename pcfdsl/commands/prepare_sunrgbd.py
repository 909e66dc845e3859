"""Make a detection set from SUN RGB-D's official downloads; run again to resume. Recipes: votenet/*sunrgbd*."""

import argparse
import sys
from pathlib import Path

from pcfdsl.command_line import positive, whole

__all__ = ["main"]


def main() -> None:
    from pcfdsl.datasets.sunrgbd import find_files, prepare_sunrgbd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder with SUNRGBD.zip or SUNRGBD/, SUNRGBDMeta3DBB_v2.mat, SUNRGBDtoolbox/")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the set")
    parser.add_argument("--labels", choices=("v1", "v2"), default="v1", help="version of the boxes (papers: v1)")
    points = "points kept of an image (VoteNet: 50000, 14 GB for all images; default all, several times that)"
    parser.add_argument("--max-points", type=positive, metavar="N", help=points)
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="seed of the choice of points (default 0)")
    parser.add_argument("--images", type=Path, metavar="PATH", help="the zip or folder of images, if it is elsewhere")
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="processes")
    parser.add_argument("--overwrite", action="store_true", help="start from scratch, whatever the folder holds")
    args = parser.parse_args()
    files = find_files(args.source, images=args.images)
    options = {"labels": args.labels, "max_points": args.max_points, "seed": args.seed}
    report = prepare_sunrgbd(files, args.out, **options, workers=args.workers, overwrite=args.overwrite)
    print(report.to_json(), flush=True)
    print(report, file=sys.stderr)  # last, so that it stays in sight: the list of missing files may be long
    raise SystemExit(report.exit_code)
