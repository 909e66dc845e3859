"""Train a VoteNet on scenes made on the fly or stored, or pre-train its backbone otherwise. Run again to go on."""

import argparse
import json
import os

from pcfdsl.command_line import add_config, resolve_config, run, whole
from pcfdsl.train.tasks.table import TASKS


def main() -> dict | None:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--task", choices=tuple(TASKS), default="detection", help="what is learned (default detection)")
    config_class, train = TASKS[first.parse_known_args()[0].task]
    parser = argparse.ArgumentParser(description=__doc__, parents=[first])
    add_config(parser, config_class)
    parser.add_argument("--backbone", choices=("pointnet2", "srunet"), help="SR-UNet is used without height")
    parser.add_argument("--out", metavar="DIR", help="folder of the run: checkpoints and logs")
    parser.add_argument("--seed", dest="seeds", type=whole, nargs=1, metavar="N", help="the settings' train.seed")
    parser.add_argument("--seeds", type=whole, nargs="+", metavar="N", help="one run for each, and their mean")
    parser.add_argument("--init-from", metavar="CKPT", help="take weights over: the settings' init.checkpoint")
    parser.add_argument("--train-fraction", type=float, metavar="F", help="use this share of the training scenes")
    parser.add_argument("--workers", type=whole, metavar="N", help="processes that make or load scenes")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--overwrite", action="store_true", help="start anew whatever the folder holds")
    args = parser.parse_intermixed_args()
    short = {"model.backbone_type": args.backbone, "init.checkpoint": args.init_from}
    short["points.use_height"] = False if args.backbone == "srunet" else None
    short |= {"train_fraction": args.train_fraction, "train.num_workers": args.workers, "train.device": args.device}
    args.overrides += [f"{key}={json.dumps(value)}" for key, value in short.items() if value is not None]
    config = resolve_config(args, config_class)
    if args.out is None:
        parser.error("--out is needed")
    results = train(config, args.out, seeds=args.seeds or (), overwrite=args.overwrite)
    return results.to_dict() if os.environ.get("RANK", "0") == "0" else None  # under torchrun, one process reports


if __name__ == "__main__":
    run(main)
