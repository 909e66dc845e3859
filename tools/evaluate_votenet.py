"""Evaluate a trained VoteNet: average precision per class, averaged over several samplings of the points."""

import argparse
from dataclasses import replace

from pcfdsl.command_line import positive, run, whole
from pcfdsl.datasets.sources import DetectionSetSource
from pcfdsl.evaluate.detector import mean_metrics, write_reports
from pcfdsl.infer.detector import evaluate_detector, load_detector


def main() -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="a run's folder (its best checkpoint is used), or one of its .safetensors files"
    )
    parser.add_argument("--data", metavar="DIR", help="detection set (default: the run's validation scenes)")
    parser.add_argument("--split", default="val", help="split of --data (default val)")
    parser.add_argument(
        "--repeats", type=positive, default=1, help="number of evaluations, each with another sample of the points"
    )
    parser.add_argument("--seed", type=whole, default=0, help="seed of the sampling")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--out", metavar="NAME", help="write NAME.json and NAME.md")
    args = parser.parse_args()
    detector = load_detector(args.checkpoint, device=args.device)
    config = replace(detector.config.evaluation, repeats=args.repeats, seed=args.seed)
    source = DetectionSetSource(folder=args.data, split=args.split) if args.data else None
    reports = evaluate_detector(detector, source=source, config=config)
    if args.out:
        write_reports(reports, detector.classes, args.out)
    return {"checkpoint": str(detector.path), "step": detector.step, **mean_metrics(reports), "out": args.out}


if __name__ == "__main__":
    run(main)
