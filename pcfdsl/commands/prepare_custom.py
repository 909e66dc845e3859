"""Make a detection set from your own scans: clouds and boxes in, one documented folder out."""

import argparse

from pcfdsl.command_line import Several, positive

__all__ = ["main"]


def main() -> None:
    from pcfdsl.datasets.custom import prepare_folder
    from pcfdsl.readers.boxes import CONVENTIONS, Convention
    from pcfdsl.view import page, scenes, sheet, sources

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="folder of the set; run again with another --split to add one")
    scans = (
        "folder of point files (PLY, PCD, LAS, text, NumPy and more), each with its boxes in NAME.csv, .json or .txt"
    )
    parser.add_argument("--scans", required=True, metavar="DIR", help=scans)
    parser.add_argument("--labels", metavar="DIR", help="folder of the boxes (default: beside the scans)")
    calib = "labels of KITTI: folder of calibrations, or none if boxes are in the frame of the points"
    parser.add_argument("--calib", metavar="DIR", help=calib)
    parser.add_argument("--split", default="train", help="name of the split (default train)")
    parser.add_argument(
        "--classes", nargs="+", action=Several, help="class names in order (default: those found, sorted)"
    )
    for field, choices in CONVENTIONS.items():
        parser.add_argument(f"--{field}", choices=choices, default=choices[0], help="convention of the source's boxes")
    parser.add_argument("--bin-columns", type=positive, default=6, help="columns of .bin files (default 6)")
    for kind in ("png", "html"):
        parser.add_argument(f"--check-{kind}", metavar="FILE", help="draw the boxes over the points of nine scenes")
    args = parser.parse_args()
    report = prepare_folder(
        args.scans,
        args.out,
        labels=args.labels,
        calibration=args.calib,
        split=args.split,
        convention=Convention(**{field: getattr(args, field) for field in CONVENTIONS}),
        classes=args.classes,
        bin_columns=args.bin_columns,
    )
    items = scenes.scene_items(report.open()[:9], classes=report.classes, captions=report.written)
    if args.check_png:
        sheet.save_png(args.check_png, sources.render_items(items))
    if args.check_html:
        page.write_page(args.check_html, items, title=args.out)
    print(report.to_json())
    raise SystemExit(1 if report.failed else 0)
