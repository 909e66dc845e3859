"""Compare image sets as pre-training on a laptop: the papers' tables at 32 px. Run again to resume."""

import argparse
import json
import sys
from pathlib import Path

from pcfdsl.command_line import add_config, needs, resolve_config, whole

__all__ = ["main"]


def main() -> dict:
    with needs("image"):
        from pcfdsl.studies.images import ImageStudyConfig, run_image_study

    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, ImageStudyConfig)
    parser.add_argument(
        "--data", metavar="DIR", help="folder of fashion_mnist_20k.npz, furniture.npz and furniture_icons.npz"
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the study: tables, sets, weights")
    parser.add_argument("--seeds", type=whole, nargs="+", metavar="N", default=[0, 1, 2], help="one case per seed")
    parser.add_argument("--arms", nargs="+", metavar="NAME", default=[], help="run only these arms, and scratch")
    args = parser.parse_intermixed_args()
    if args.data is not None:
        names = {"fashion": "fashion_mnist_20k", "icons": "furniture_icons", "furniture": "furniture"}
        paths = {key: str(Path(args.data) / f"{name}.npz") for key, name in names.items()}
        args.overrides += [f"{key}={json.dumps(path)}" for key, path in paths.items()]
    config = resolve_config(args, ImageStudyConfig)
    how = {"seeds": args.seeds, "arms": args.arms, "progress": lambda line: print(line, file=sys.stderr, flush=True)}
    return run_image_study(config, args.out, **how).to_dict()
