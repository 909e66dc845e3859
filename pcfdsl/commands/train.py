"""Train a VoteNet, pre-train its backbone, or train a classifier of point clouds.

Scenes and clouds are generated on the fly or read from a folder. The same command resumes an interrupted run.
"""

import argparse

from pcfdsl.command_line import add_config
from pcfdsl.commands import arguments

__all__ = ["main"]


def main() -> dict | None:
    from pcfdsl.train.tasks.table import TASKS

    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--task", choices=tuple(TASKS), default="detection", help="what to learn (default: detection)")
    config_class, train = TASKS[first.parse_known_args()[0].task]
    parser = argparse.ArgumentParser(description=__doc__, parents=[first])
    add_config(parser, config_class)
    parser.add_argument("--backbone", choices=("pointnet2", "srunet"), help="srunet also turns points.use_height off")
    parser.add_argument("--data", metavar="PATH", help="classification: .npz file or folder of classes; sets data.path")
    parser.add_argument("--train-fraction", type=float, metavar="F", help="share of the training scenes to use")
    arguments.add_training(parser)
    args = parser.parse_intermixed_args()
    settings = {
        "model.backbone_type": args.backbone,
        "points.use_height": False if args.backbone == "srunet" else None,
        "data.path": args.data,
        "train_fraction": args.train_fraction,
    }
    return arguments.train(parser, args, config_class, train, settings)
