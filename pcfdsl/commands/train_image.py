"""Train or fine-tune a timm image network on generated or stored pictures. The same command resumes a run."""

import argparse
import json
import os

from pcfdsl.command_line import add_config, needs, resolve_config, whole

__all__ = ["main"]


def main() -> dict | None:
    with needs("image"):
        from pcfdsl.train.tasks.image import ImageConfig, train_image

    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, ImageConfig)
    parser.add_argument("--out", metavar="DIR", help="folder of the run: checkpoints and logs")
    parser.add_argument("--model", metavar="NAME", help="any timm model: sets model.name")
    parser.add_argument("--seed", dest="seeds", type=whole, nargs=1, metavar="N", help="sets train.seed")
    parser.add_argument("--seeds", type=whole, nargs="+", metavar="N", help="one run per seed, and their mean")
    parser.add_argument("--init-from", metavar="CKPT", help="initial weights: sets init.checkpoint")
    parser.add_argument("--freeze-stages", type=whole, metavar="K", help="keep the weights of the first K stages fixed")
    parser.add_argument(
        "--train-fraction", type=float, metavar="F", help="share of each training class to use: sets data.fraction"
    )
    parser.add_argument("--workers", type=whole, metavar="N", help="data loading processes: sets train.num_workers")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N: sets train.device")
    parser.add_argument("--overwrite", action="store_true", help="start from scratch, whatever the folder holds")
    args = parser.parse_intermixed_args()
    short = {"model.name": args.model, "init.checkpoint": args.init_from, "freeze_stages": args.freeze_stages}
    short |= {"data.fraction": args.train_fraction, "train.num_workers": args.workers, "train.device": args.device}
    args.overrides += [f"{key}={json.dumps(value)}" for key, value in short.items() if value is not None]
    config = resolve_config(args, ImageConfig)
    if args.out is None:
        parser.error("--out is required")
    results = train_image(config, args.out, seeds=args.seeds or (), overwrite=args.overwrite)
    return results.to_dict() if os.environ.get("RANK", "0") == "0" else None  # under torchrun, one process reports
