"""Compare image sets as pre-training on a laptop: the papers' tables at 32 px. Run again to resume."""

import argparse
import json
import sys

from pcfdsl.command_line import Several, add_config, add_seeds, needs, refuse_settings, resolve_config

__all__ = ["main"]


def main() -> dict:
    with needs("image"):
        from pcfdsl.studies.image_arms import ARMS, DEEPCLUSTER
        from pcfdsl.studies.images import ImageStudyConfig, run_image_study
        from pcfdsl.studies.starts import parse_starts
        from pcfdsl.train.tasks.table import TASKS

    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, ImageStudyConfig)
    parser.add_argument(
        "--data",
        metavar="DIR",
        nargs="+",
        action=Several,
        help="folders of real pictures: Fashion-MNIST's or CIFAR's files as downloaded, or train/CLASS and test/CLASS; "
        "by default furniture that is drawn",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the study: tables, sets, weights")
    add_seeds(parser, what="one case per seed", default=(0, 1, 2))
    only = "run only these arms, and scratch"
    parser.add_argument("--arms", nargs="+", action=Several, metavar="NAME", default=[], help=only)
    parser.add_argument(
        "--init",
        metavar="NAME=CKPT",
        nargs="+",
        action=Several,
        default=[],
        help="measure these weights of the recipe's network; alone, unless --arms names others",
    )
    args = parser.parse_intermixed_args()
    for option, values in (("--data", args.data or ()), ("--arms", args.arms), ("--init", args.init)):
        refuse_settings(parser, option, values, ImageStudyConfig)
    if args.data is not None:
        args.overrides.append(f"data={json.dumps(args.data)}")
    config, weights = resolve_config(args, ImageStudyConfig), {}
    for name, path in parse_starts(args.init).items():
        if path is None:
            parser.error(f"--init {name}: expected NAME=CHECKPOINT; scratch is always run")
        weights[name] = path
    if DEEPCLUSTER in (args.arms or (() if weights else ARMS)):
        TASKS["self_supervised"]()  # says so if its extra is missing
    how = {
        "seeds": args.seeds,
        "arms": args.arms,
        "weights": weights,
        "progress": lambda line: print(line, file=sys.stderr, flush=True),
    }
    return run_image_study(config, args.out, **how).to_dict()
