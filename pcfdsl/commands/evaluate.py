"""Evaluate a trained detector: average precision per class, averaged over several samplings of the points."""

import argparse
from dataclasses import replace
from typing import get_args

from pcfdsl.command_line import add_open, open_page, positive, require_page, whole

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.datasets.sources import DetectionSetSource, stored_scenes
    from pcfdsl.evaluate.detector import mean_metrics, write_reports
    from pcfdsl.infer.detector import evaluate_detector, load_detector, look_at_detections
    from pcfdsl.models.precision import Precision
    from pcfdsl.view.page import write_page

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoint", help="a run's folder (its best checkpoint is used), or one of its .safetensors files"
    )
    parser.add_argument(
        "--data", metavar="DIR", help="detection set, or generated scenes (default: the run's validation scenes)"
    )
    parser.add_argument("--split", help="split of the detection set that --data names (default val)")
    sampling = "number of evaluations, each with another sample of the points (default: as in training, mostly 1)"
    parser.add_argument("--repeats", type=positive, metavar="N", help=sampling)
    parser.add_argument("--seed", type=whole, metavar="N", help="seed of the sampling (default: as in training)")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="scenes at a time (default: as in training)")
    loading = "data loading processes (default: as in training)"
    parser.add_argument("--workers", dest="num_workers", type=whole, metavar="N", help=loading)
    parser.add_argument("--precision", choices=get_args(Precision), default="float32", help="of matrix products")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--out", metavar="NAME", help="write NAME.json and NAME.md")
    parser.add_argument("--html", metavar="FILE", help="write a page of up to 24 scenes: detections beside the truth")
    add_open(parser)
    args = parser.parse_args()
    require_page(parser, args)
    source = stored_scenes(args.data, split=args.split or "val") if args.data else None
    if args.split and not isinstance(source, DetectionSetSource):
        parser.error("--split is of a detection set: give its folder with --data, or leave it out")
    detector = load_detector(args.checkpoint, device=args.device)
    asked = {name: getattr(args, name) for name in ("repeats", "seed", "batch_size", "num_workers")}
    given = {name: value for name, value in asked.items() if value is not None}
    config = replace(detector.config.evaluation, **given)
    done = evaluate_detector(detector, source=source, config=config, precision=args.precision)
    if args.out:
        write_reports(done.reports, detector.classes, args.out)
    if args.html:
        write_page(args.html, look_at_detections(detector, source=source, config=config), title=str(detector.path))
        if args.open:
            open_page(args.html)
    about = {"checkpoint": str(detector.path), "step": detector.step}
    return {**about, **mean_metrics(done.reports), **done.speed, "out": args.out, "html": args.html}
