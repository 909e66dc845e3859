"""Train a classifier of point clouds: pre-train it on fractals, or fine-tune it on shapes. Run again to go on."""

import argparse
import json
import os

from pcfdsl.command_line import add_config, resolve_config, run, whole
from pcfdsl.train.tasks.classification import ClassificationConfig, train_classifier


def main() -> dict | None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, ClassificationConfig)
    parser.add_argument("--out", metavar="DIR", help="folder of the run: checkpoints and logs")
    parser.add_argument("--seed", dest="seeds", type=whole, nargs=1, metavar="N", help="the settings' train.seed")
    parser.add_argument("--seeds", type=whole, nargs="+", metavar="N", help="one run for each, and their mean")
    parser.add_argument("--init-from", metavar="CKPT", help="take the backbone over: the settings' init.checkpoint")
    parser.add_argument("--data", metavar="PATH", help="the .npz file or folder of classes: the settings' data.path")
    parser.add_argument("--workers", type=whole, metavar="N", help="processes that load clouds")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--overwrite", action="store_true", help="start anew whatever the folder holds")
    args = parser.parse_intermixed_args()
    short = {
        "init.checkpoint": args.init_from,
        "data.path": args.data,
        "train.num_workers": args.workers,
        "train.device": args.device,
    }
    args.overrides += [f"{key}={json.dumps(value)}" for key, value in short.items() if value is not None]
    config = resolve_config(args, ClassificationConfig)
    if args.out is None:
        parser.error("--out is needed")
    results = train_classifier(config, args.out, seeds=args.seeds or (), overwrite=args.overwrite)
    return results.to_dict() if os.environ.get("RANK", "0") == "0" else None  # under torchrun, one process reports


if __name__ == "__main__":
    run(main)
