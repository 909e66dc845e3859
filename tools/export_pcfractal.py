"""Write a stored PC-FractalDB as other programs want it: the published folders, or WebDataset tars."""

import argparse

from pcfdsl.command_line import positive, run
from pcfdsl.pcfractal_set import export_published
from pcfdsl.store.export import write_webdataset
from pcfdsl.store.stored import open_set


def main() -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="folder that generate_pcfractal.py wrote")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write to")
    parser.add_argument("--layout", choices=["published", "webdataset"], default="published")
    parser.add_argument("--samples-per-tar", type=positive, default=1000, help="with webdataset (default 1000)")
    args = parser.parse_args()
    if args.layout == "published":
        return {"path": args.out, **export_published(args.path, args.out)}
    files = write_webdataset(open_set(args.path), args.out, samples_per_tar=args.samples_per_tar)
    return {"path": args.out, "tar_files": len(files)}


if __name__ == "__main__":
    run(main)
