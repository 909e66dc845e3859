"""Export a stored PC-FractalDB to the released folder layout, or any stored set to tars or Parquet tables."""

import argparse
from pathlib import Path

from pcfdsl.command_line import positive

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.generate.pcfractal import export_released
    from pcfdsl.store.export import write_parquet, write_webdataset
    from pcfdsl.store.stored import open_set

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="folder of a stored set: one of PC-FractalDB for the released layout, else any")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write to")
    parser.add_argument("--layout", choices=["released", "webdataset", "parquet"], default="released")
    parser.add_argument("--samples-per-file", type=positive, default=1000, help="of tars and tables (default 1000)")
    args = parser.parse_args()
    if Path(args.out).resolve() == Path(args.path).resolve():
        parser.error("--out is the set itself; choose another folder")
    if args.layout == "released":
        return {"path": args.out, **export_released(args.path, args.out)}
    stored, how = open_set(args.path), {"samples_per_file": args.samples_per_file}
    if args.layout == "webdataset":
        return {"path": args.out, "tar_files": len(write_webdataset(stored, args.out, **how))}
    files = write_parquet(stored, args.out, metadata={"pcfdsl.digest": stored.manifest.digest}, **how)
    return {"path": args.out, "parquet_files": len(files)}
