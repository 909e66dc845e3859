"""Make a detection set from ScanNetV2's official download; run again to resume. Recipes: votenet/*scannet*."""

import argparse

from pcfdsl.commands.arguments import add_preparation, prepare

__all__ = ["main"]


def main() -> None:
    from pcfdsl.datasets.scannet import find_scannet, prepare_scannet
    from pcfdsl.datasets.spec import SCANNET, SCANNET200

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder with scans/ and scannetv2-labels.combined.tsv; a part of it is enough")
    parser.add_argument("--label-map", metavar="TSV", help="scannetv2-labels.combined.tsv, if it is elsewhere")
    classes = "18 classes of ScanNetV2 (default), or ScanNet200's but for wall and floor"
    parser.add_argument("--classes", type=int, choices=(18, 200), default=18, help=classes)
    alignment = "turned along the axes by the scan's own matrix (default), or as scanned"
    parser.add_argument("--alignment", choices=("axis", "none"), default="axis", help=alignment)
    add_preparation(parser, points="points to keep per scan (VoteNet: 50000)")
    args = parser.parse_args()
    files = find_scannet(args.source, label_table=args.label_map)
    spec = SCANNET200 if args.classes == 200 else SCANNET
    prepare(args, prepare_scannet, files, spec=spec, alignment=args.alignment)
