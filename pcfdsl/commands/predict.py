"""Find objects in point clouds with a trained detector; boxes as JSON, and drawn over the points."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import get_args

from pcfdsl.command_line import add_open, open_page, positive, require_page

__all__ = ["main"]


def main() -> None:
    from pcfdsl.infer.detector import Unread, detect_in_files, load_detector
    from pcfdsl.models.precision import Precision
    from pcfdsl.store.atomic import make_folder, write_file
    from pcfdsl.view.page import CLOUD_POINTS, thinned, write_page
    from pcfdsl.view.scenes import detection_item
    from pcfdsl.view.sheet import save_png
    from pcfdsl.view.sources import render_items

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="a run's folder (its best checkpoint is used), or one of its .safetensors files"
    )
    parser.add_argument("clouds", nargs="+", metavar="cloud", help="PLY, PCD, LAS, text, NumPy and more; metres, z up")
    parser.add_argument("--out", metavar="PATH", help="write the boxes: FILE.json; for several clouds a folder")
    for kind, what in (("html", "page"), ("png", "picture")):
        parser.add_argument(f"--{kind}", metavar="FILE", help=f"write a {what} of the boxes over the points")
    parser.add_argument(
        "--confidence", type=float, default=0.5, help="keep detections with a confidence above this (default 0.5)"
    )
    parser.add_argument("--bin-columns", type=positive, default=6, help="columns of .bin files (default 6)")
    parser.add_argument("--batch-size", type=positive, default=8, help="clouds at a time (default 8)")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32", help="of matrix products")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add_open(parser)
    args = parser.parse_args()
    require_page(parser, args)
    names = [Path(cloud).stem for cloud in args.clouds]
    if args.out and len(set(names)) < len(names):
        parser.error(f"--out would write {max(names, key=names.count)}.json for more than one cloud; rename them")
    detector = load_detector(args.checkpoint, device=args.device)
    settings = {name: getattr(args, name) for name in ("confidence", "bin_columns", "batch_size", "precision")}
    started, items, objects, failed = time.perf_counter(), [], {}, {}
    for cloud, name, found in zip(args.clouds, names, detect_in_files(detector, args.clouds, **settings), strict=True):
        if isinstance(found, Unread):
            failed[cloud] = str(found.error)
            continue
        objects[cloud] = list(found.labels)
        for note in found.notes:
            print(f"note: {cloud}: {note}", file=sys.stderr)
        if args.out:
            path = args.out if len(names) == 1 else make_folder(args.out) / f"{name}.json"
            write_file(path, found.to_json().encode())
        if args.html or args.png:
            what = {"boxes": found.boxes, "names": found.names, "scores": found.scores, "classes": detector.classes}
            items.append(thinned(detection_item(found.points, **what, caption=cloud), CLOUD_POINTS))
    speed = round(len(objects) / (time.perf_counter() - started), 2)
    if args.html and items:
        write_page(args.html, items, title=args.clouds[0] if len(items) == 1 else f"{len(items)} clouds")
        if args.open:
            open_page(args.html)
    if args.png and items:
        save_png(args.png, render_items(items, size=(960, 720)))
    written = {name: getattr(args, name) if objects else None for name in ("out", "html", "png")}
    print(json.dumps({"objects": objects, "failed": failed, "scenes_per_second": speed, **written}, indent=2))
    raise SystemExit(1 if failed else 0)
