"""Train a VoteNet, pre-train its backbone, or train a classifier of point clouds.

Scenes and clouds are generated on the fly or read from a folder. The same command resumes an interrupted run.
"""

import argparse
import json
import os

from pcfdsl.command_line import add_config, resolve_config, whole

__all__ = ["main"]


def main() -> dict | None:
    from pcfdsl.train.tasks.table import TASKS

    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--task", choices=tuple(TASKS), default="detection", help="what to learn (default: detection)")
    config_class, train = TASKS[first.parse_known_args()[0].task]
    parser = argparse.ArgumentParser(description=__doc__, parents=[first])
    add_config(parser, config_class)
    parser.add_argument("--backbone", choices=("pointnet2", "srunet"), help="srunet also turns points.use_height off")
    parser.add_argument("--out", metavar="DIR", help="folder of the run: checkpoints and logs")
    parser.add_argument("--seed", dest="seeds", type=whole, nargs=1, metavar="N", help="sets train.seed")
    parser.add_argument("--seeds", type=whole, nargs="+", metavar="N", help="one run per seed, and their mean")
    parser.add_argument("--init-from", metavar="CKPT", help="initial weights: sets init.checkpoint")
    parser.add_argument("--data", metavar="PATH", help="classification: .npz file or folder of classes; sets data.path")
    parser.add_argument("--train-fraction", type=float, metavar="F", help="share of the training scenes to use")
    parser.add_argument("--workers", type=whole, metavar="N", help="data loading processes: sets train.num_workers")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N: sets train.device")
    parser.add_argument("--overwrite", action="store_true", help="start from scratch, whatever the folder holds")
    args = parser.parse_intermixed_args()
    short = {
        "model.backbone_type": args.backbone,
        "points.use_height": False if args.backbone == "srunet" else None,
        "init.checkpoint": args.init_from,
        "data.path": args.data,
        "train_fraction": args.train_fraction,
        "train.num_workers": args.workers,
        "train.device": args.device,
    }
    args.overrides += [f"{key}={json.dumps(value)}" for key, value in short.items() if value is not None]
    config = resolve_config(args, config_class)
    if args.out is None:
        parser.error("--out is required")
    results = train(config, args.out, seeds=args.seeds or (), overwrite=args.overwrite)
    return results.to_dict() if os.environ.get("RANK", "0") == "0" else None  # under torchrun, one process reports
