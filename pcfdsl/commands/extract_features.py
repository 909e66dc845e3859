"""Features of clouds by a trained backbone, per point or per cloud, with pictures of them."""

import argparse
import sys

from pcfdsl.command_line import positive

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.infer.features import extract_features, load_backbone
    from pcfdsl.view.features import feature_items
    from pcfdsl.view.page import write_page
    from pcfdsl.view.sheet import save_png
    from pcfdsl.view.sources import render_items

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="a run's folder (its best weights are used), or one of its .safetensors files"
    )
    parser.add_argument("clouds", nargs="+", help="point clouds or folders of them; metres, z up")
    parser.add_argument(
        "--out", metavar="PATH", required=True, help="folder of NAME.npz; one .npz file with --per cloud"
    )
    parser.add_argument(
        "--per", choices=("point", "cloud"), default="point", help="what gets a feature (default point)"
    )
    for kind, what in (("html", "page"), ("png", "picture")):
        parser.add_argument(
            f"--{kind}", metavar="FILE", help=f"write a {what}: principal components as colours, or neighbours"
        )
    parser.add_argument("--bin-columns", type=positive, default=6, help="columns of .bin files (default 6)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    args = parser.parse_args()
    extractor = load_backbone(args.checkpoint, device=args.device)
    found = extract_features(extractor, args.clouds, args.out, per=args.per, bin_columns=args.bin_columns)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    items = feature_items(found.clouds, found.features, names=[path.name for path in found.paths])
    if args.html:
        write_page(args.html, items, title="Features")
    if args.png:
        save_png(args.png, render_items(items))
    channels = found.features[0].shape[-1]
    return {"clouds": len(found.paths), "channels": channels, "out": args.out, "skipped": found.skipped}
