"""The command `pcfdsl`: every job under one name."""

import argparse
import sys
from typing import NoReturn

from pcfdsl import __version__
from pcfdsl.command_line import run
from pcfdsl.commands import (
    analyze_vit,
    compare_pretraining,
    configs,
    convert_checkpoint,
    demo,
    evaluate,
    export_backbone,
    export_model,
    export_pcfractal,
    extract_features,
    generate_images,
    generate_objects,
    generate_pcfractal,
    generate_scenes,
    image_study,
    predict,
    prepare_custom,
    prepare_s3dis,
    prepare_scannet,
    prepare_sunrgbd,
    reproduce_claims,
    train,
    train_image,
    view,
)

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "configs": configs,
    "generate-pcfractal": generate_pcfractal,
    "generate-objects": generate_objects,
    "generate-scenes": generate_scenes,
    "generate-images": generate_images,
    "view": view,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "extract-features": extract_features,
    "compare-pretraining": compare_pretraining,
    "prepare-custom": prepare_custom,
    "prepare-s3dis": prepare_s3dis,
    "prepare-scannet": prepare_scannet,
    "prepare-sunrgbd": prepare_sunrgbd,
    "convert-checkpoint": convert_checkpoint,
    "train-image": train_image,
    "analyze-vit": analyze_vit,
    "image-study": image_study,
    "export-backbone": export_backbone,
    "export-model": export_model,
    "export-pcfractal": export_pcfractal,
    "reproduce-claims": reproduce_claims,
    "demo": demo,
}


def main() -> NoReturn:
    """Run the job that the first argument names, with the arguments after it."""
    parser = argparse.ArgumentParser(
        prog="pcfdsl",
        description="Pre-train 3D detectors on formulas.",
        epilog="Start with: pcfdsl demo --out runs/demo. What a command takes: pcfdsl COMMAND --help.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    jobs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, module in COMMANDS.items():
        jobs.add_parser(name, add_help=False, help=(module.__doc__ or "").splitlines()[0])
    command = parser.parse_known_args(sys.argv[1:2] or ["--help"])[0].command
    sys.argv = [f"pcfdsl {command}", *sys.argv[2:]]
    run(COMMANDS[command].main)
