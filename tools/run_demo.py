"""The demo: pre-train on fractals, fine-tune on furniture, compare with training from scratch. Run again to resume."""

import argparse
from pathlib import Path

from pcfdsl.command_line import add_config, resolve_config, run
from pcfdsl.studies.demo import DemoConfig, run_demo


def main() -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, DemoConfig)
    parser.set_defaults(config=str(Path(__file__).parents[1] / "configs" / "demo" / "laptop.yaml"))
    parser.add_argument("--out", metavar="DIR", help="folder of the demo")
    parser.add_argument("--meshes", metavar="DIR", help="fine-tune on these models, one sub-folder per class, metres")
    args = parser.parse_intermixed_args()
    config = resolve_config(args, DemoConfig)
    if args.out is None:
        parser.error("--out is required")
    report = run_demo(config, args.out, meshes=args.meshes)
    return {"report": str(report), "markdown": str(report.with_suffix(".md"))}


if __name__ == "__main__":
    run(main)
