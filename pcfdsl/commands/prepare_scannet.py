"""Make a detection set from ScanNetV2's official download; run again to resume. Recipes: votenet/*scannet*."""

import argparse
import sys

from pcfdsl.command_line import positive, whole

__all__ = ["main"]


def main() -> None:
    from pcfdsl.datasets.scannet import find_scannet, prepare_scannet

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder with scans/ and scannetv2-labels.combined.tsv; a part of it is enough")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the set")
    parser.add_argument("--label-map", metavar="TSV", help="scannetv2-labels.combined.tsv, if it is elsewhere")
    parser.add_argument("--max-points", type=positive, metavar="N", help="points to keep per scan (VoteNet: 50000)")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="seed of the choice of points (default 0)")
    alignment = "turned along the axes by the scan's own matrix (default), or as scanned"
    parser.add_argument("--alignment", choices=("axis", "none"), default="axis", help=alignment)
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="processes")
    parser.add_argument("--overwrite", action="store_true", help="start from scratch, whatever the folder holds")
    args = parser.parse_args()
    files = find_scannet(args.source, label_table=args.label_map)
    options = {"alignment": args.alignment, "max_points": args.max_points, "seed": args.seed}
    report = prepare_scannet(files, args.out, **options, workers=args.workers, overwrite=args.overwrite)
    print(report.to_json(), flush=True)
    print(report, file=sys.stderr)  # last, so that it stays in sight: the list of missing files may be long
    raise SystemExit(report.exit_code)
