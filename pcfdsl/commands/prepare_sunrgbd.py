"""Make a detection set from SUN RGB-D's official downloads; run again to resume. Recipes: votenet/*sunrgbd*."""

import argparse
from pathlib import Path

from pcfdsl.commands.arguments import add_preparation, prepare

__all__ = ["main"]


def main() -> None:
    from pcfdsl.datasets.spec import SUNRGBD, SUNRGBD37
    from pcfdsl.datasets.sunrgbd import find_sunrgbd, prepare_sunrgbd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder with SUNRGBD.zip or SUNRGBD/, SUNRGBDMeta3DBB_v2.mat, SUNRGBDtoolbox/")
    classes = "10 classes that papers report (default), or the toolbox's 37"
    parser.add_argument("--classes", type=int, choices=(10, 37), default=10, help=classes)
    parser.add_argument("--labels", choices=("v1", "v2"), default="v1", help="version of the boxes (papers: v1)")
    parser.add_argument("--images", type=Path, metavar="PATH", help="the zip or folder of images, if it is elsewhere")
    add_preparation(
        parser, points="points kept of an image (VoteNet: 50000, 14 GB for all images; default all, several times that)"
    )
    args = parser.parse_args()
    spec = SUNRGBD37 if args.classes == 37 else SUNRGBD
    prepare(args, prepare_sunrgbd, find_sunrgbd(args.source, images=args.images), spec=spec, labels=args.labels)
