"""Compare starting points of a detector's or classifier's training on paired seeds and folds. Run again to resume."""

import argparse
import sys

from pcfdsl.command_line import Several, add_config, add_seeds, parse_shard, refuse_settings, resolve_config

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.studies.comparison import compare_pretraining
    from pcfdsl.studies.starts import parse_starts
    from pcfdsl.train.tasks.classification import ClassificationConfig
    from pcfdsl.train.tasks.detection import DetectorConfig

    configs = {"detector": DetectorConfig, "classifier": ClassificationConfig}
    kind = argparse.ArgumentParser(add_help=False)
    kind.add_argument("--downstream", choices=configs, default="detector", help="what to train")
    config_class = configs[kind.parse_known_args()[0].downstream]
    parser = argparse.ArgumentParser(description=__doc__, parents=[kind])
    add_config(parser, config_class)
    parser.add_argument("--out", metavar="DIR", help="folder of the study: study.md, study.json, runs")
    parser.add_argument(
        "--init",
        metavar="NAME[=CKPT]",
        nargs="+",
        action=Several,
        default=["scratch"],
        help="the first is the baseline",
    )
    add_seeds(parser, what="seeds of each starting point's runs", default=(0, 1, 2))
    parser.add_argument(
        "--hold-out", metavar="TAG", help="hold out each value of a tag of the clouds, such as fold or library"
    )
    parser.add_argument("--shard", type=parse_shard, default=(0, 1), metavar="i/n", help="run only part i of n")
    parser.add_argument("--keep-weights", action="store_true", help="keep the weights of finished runs")
    args = parser.parse_intermixed_args()
    refuse_settings(parser, "--init", args.init, config_class)
    how = {"seeds": args.seeds, "hold_out": args.hold_out, "shard": args.shard, "keep_weights": args.keep_weights}
    config, starts = resolve_config(args, config_class), parse_starts(args.init)
    if args.out is None:
        parser.error("--out is required")
    study = compare_pretraining(config, starts, args.out, progress=lambda line: print(line, file=sys.stderr), **how)
    return study.to_dict()
