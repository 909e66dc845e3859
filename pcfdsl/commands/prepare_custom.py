"""Make a detection set from your own scans: clouds and boxes in, one documented folder out."""

import argparse

from pcfdsl.command_line import positive

__all__ = ["main"]


def main() -> None:
    from pcfdsl.datasets.custom import Convention, prepare_folder
    from pcfdsl.view import page, scenes, sheet, sources

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="folder of the set; run again with another --split to add one")
    scans = "folder of point files (PLY, PCD, LAS, text, NumPy and more), each with its boxes in NAME.csv or .json"
    parser.add_argument("--scans", required=True, metavar="DIR", help=scans)
    parser.add_argument("--split", default="train", help="name of the split (default train)")
    parser.add_argument("--classes", nargs="+", help="class names in order (default: those found, sorted)")
    for field, choices in (("yaw", ("ccw", "cw")), ("sizes", ("full", "half")), ("z", ("center", "bottom"))):
        parser.add_argument(f"--{field}", choices=choices, default=choices[0], help="convention of the source's boxes")
    parser.add_argument("--bin-columns", type=positive, default=6, help="columns of .bin files (default 6)")
    for kind in ("png", "html"):
        parser.add_argument(f"--check-{kind}", metavar="FILE", help="draw the boxes over the points of nine scenes")
    args = parser.parse_args()
    convention = Convention(yaw=args.yaw, sizes=args.sizes, z=args.z)
    options = {"split": args.split, "classes": args.classes, "bin_columns": args.bin_columns}
    report = prepare_folder(args.scans, args.out, convention=convention, **options)
    items = scenes.scene_items(report.open()[:9], classes=report.classes, captions=report.written)
    if args.check_png:
        sheet.save_png(args.check_png, sources.render_items(items))
    if args.check_html:
        page.write_page(args.check_html, items, title=args.out)
    print(report.to_json())
    raise SystemExit(1 if report.failed else 0)
