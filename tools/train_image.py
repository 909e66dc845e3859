"""Train an image network of timm on pictures made on the fly or stored, or fine-tune one. Run again to go on."""

import argparse
import json
import os

from pcfdsl.command_line import add_config, needs, resolve_config, run, whole

with needs("image"):
    from pcfdsl.train.tasks.image import ImageConfig, train_image


def main() -> dict | None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, ImageConfig)
    parser.add_argument("--out", metavar="DIR", help="folder of the run: checkpoints and logs")
    parser.add_argument("--model", metavar="NAME", help="the settings' model.name, any of timm's")
    parser.add_argument("--seed", dest="seeds", type=whole, nargs=1, metavar="N", help="the settings' train.seed")
    parser.add_argument("--seeds", type=whole, nargs="+", metavar="N", help="one run for each, and their mean")
    parser.add_argument("--init-from", metavar="CKPT", help="take weights over: the settings' init.checkpoint")
    parser.add_argument("--freeze-stages", type=whole, metavar="K", help="leave the first K stages as they are")
    parser.add_argument("--train-fraction", type=float, metavar="F", help="use this share of each training class")
    parser.add_argument("--workers", type=whole, metavar="N", help="processes that make or load pictures")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--overwrite", action="store_true", help="start anew whatever the folder holds")
    args = parser.parse_intermixed_args()
    short = {"model.name": args.model, "init.checkpoint": args.init_from, "freeze_stages": args.freeze_stages}
    short |= {"data.fraction": args.train_fraction, "train.num_workers": args.workers, "train.device": args.device}
    args.overrides += [f"{key}={json.dumps(value)}" for key, value in short.items() if value is not None]
    config = resolve_config(args, ImageConfig)
    if args.out is None:
        parser.error("--out is needed")
    results = train_image(config, args.out, seeds=args.seeds or (), overwrite=args.overwrite)
    return results.to_dict() if os.environ.get("RANK", "0") == "0" else None  # under torchrun, one process reports


if __name__ == "__main__":
    run(main)
