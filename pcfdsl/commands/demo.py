"""The demo: pre-train on fractals, fine-tune on furniture, compare with training from scratch. Run again to resume."""

import argparse

from pcfdsl.command_line import add_config, add_open, open_page, resolve_config

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.studies.demo import DemoConfig, run_demo

    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, DemoConfig)
    parser.set_defaults(config="demo/laptop")
    parser.add_argument("--out", metavar="DIR", help="folder of the demo")
    parser.add_argument("--meshes", metavar="DIR", help="fine-tune on these models, one sub-folder per class, metres")
    parser.add_argument("--init-from", metavar="CKPT", help="start from these weights instead of pre-training")
    add_open(parser)
    args = parser.parse_intermixed_args()
    config = resolve_config(args, DemoConfig)
    if args.out is None:
        parser.error("--out is required")
    report = run_demo(config, args.out, meshes=args.meshes, weights=args.init_from)
    if args.open:
        open_page(report)
    return {"report": str(report), "markdown": str(report.with_suffix(".md"))}
