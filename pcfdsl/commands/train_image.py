"""Train or fine-tune a timm image network on generated or stored pictures. The same command resumes a run."""

import argparse

from pcfdsl.command_line import add_config, needs, whole
from pcfdsl.commands import arguments

__all__ = ["main"]


def main() -> dict | None:
    with needs("image"):
        from pcfdsl.train.tasks.image import ImageConfig, train_image

    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, ImageConfig)
    parser.add_argument("--model", metavar="NAME", help="any timm model: sets model.name")
    parser.add_argument("--freeze-stages", type=whole, metavar="K", help="keep the weights of the first K stages fixed")
    parser.add_argument(
        "--train-fraction", type=float, metavar="F", help="share of each training class to use: sets train_fraction"
    )
    arguments.add_training(parser)
    args = parser.parse_intermixed_args()
    settings = {"model.name": args.model, "freeze_stages": args.freeze_stages, "train_fraction": args.train_fraction}
    return arguments.train(parser, args, ImageConfig, train_image, settings)
