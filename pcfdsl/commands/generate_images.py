"""Generate an image set: search its categories, draw its images. Run again to resume, check or repair."""

import argparse

from pcfdsl.command_line import add_config
from pcfdsl.commands.arguments import add_generation, generate

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.generate.images import IMAGE_FORMATS, generate_images, plan_images, verify_images
    from pcfdsl.image.sets import ImageSetConfig

    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, ImageSetConfig)
    parser.add_argument("--dataset", metavar="NAME", help="short for dataset=NAME")
    parser.add_argument("--format", choices=IMAGE_FORMATS, default="shards", help="(default shards)")
    add_generation(parser, categories="fractals: use the systems of released CSV files")
    args = parser.parse_intermixed_args()  # key=value may be anywhere
    args.overrides += [] if args.dataset is None else [f"dataset={args.dataset}"]
    jobs = (plan_images, generate_images, verify_images)
    return generate(parser, args, (ImageSetConfig,), jobs, image_format=args.format)
