"""Find objects in a point cloud with a trained VoteNet; boxes as JSON, and drawn over the points."""

import argparse
from dataclasses import replace

from pcfdsl.command_line import positive, run
from pcfdsl.infer.detector import PREDICTION, detect_in_file, load_detector
from pcfdsl.store.atomic import write_file
from pcfdsl.view.page import PageItem, write_page
from pcfdsl.view.sheet import save_png
from pcfdsl.view.sources import render_items


def main() -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="a run's folder (its best checkpoint is used), or one of its .safetensors files"
    )
    parser.add_argument("cloud", help=".ply, .npy or .bin; metres, z up")
    parser.add_argument("--out", metavar="FILE.json", help="write the boxes")
    for kind, what in (("html", "page"), ("png", "picture")):
        parser.add_argument(f"--{kind}", metavar="FILE", help=f"write a {what} of the boxes over the points")
    parser.add_argument(
        "--confidence", type=float, default=PREDICTION.confidence, help="keep detections with a confidence above this"
    )
    parser.add_argument("--bin-columns", type=positive, default=6, help="columns of .bin files (default 6)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    args = parser.parse_args()
    detector = load_detector(args.checkpoint, device=args.device)
    options = replace(PREDICTION, confidence=args.confidence)
    found = detect_in_file(detector, args.cloud, options=options, bin_columns=args.bin_columns)
    item = PageItem(points=found.points, boxes=found.boxes, box_labels=found.labels, caption=args.cloud)
    if args.out:
        write_file(args.out, found.to_json().encode())
    if args.html:
        write_page(args.html, [item], title=args.cloud)
    if args.png:
        save_png(args.png, render_items([item], size=(960, 720)))
    return {"objects": list(found.labels), "out": args.out, "html": args.html, "png": args.png}


if __name__ == "__main__":
    run(main)
