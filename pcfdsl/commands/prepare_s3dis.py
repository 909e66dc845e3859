"""Make a detection set from S3DIS's official download (aligned version); run again to resume."""

import argparse

from pcfdsl.commands.arguments import add_preparation, prepare

__all__ = ["main"]


def main() -> None:
    from pcfdsl.datasets.s3dis import prepare_s3dis

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="Stanford3dDataset_v1.2_Aligned_Version, or the folder it is in")
    add_preparation(parser, points="points to keep per room (default all: 8 GB; 500000 are enough to draw 100000 from)")
    args = parser.parse_args()
    prepare(args, prepare_s3dis, args.source)
