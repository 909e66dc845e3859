"""Generate an image set: search its categories, draw its images. Run again to resume, check or repair."""

import argparse

from pcfdsl.command_line import add_config, parse_shard, positive, resolve_config, whole

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.generate.driver import RunOptions
    from pcfdsl.generate.images import IMAGE_FORMATS, generate_images, plan_images, verify_images
    from pcfdsl.generate.ray import on_ray
    from pcfdsl.generate.workers import local
    from pcfdsl.image.sets import ImageSetConfig

    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, ImageSetConfig)
    parser.add_argument("--dataset", metavar="NAME", help="short for dataset=NAME")
    parser.add_argument("--out", metavar="DIR", help="folder of the set")
    parser.add_argument("--format", choices=IMAGE_FORMATS, default="shards", help="(default shards)")
    parser.add_argument("--seed", type=whole, help="short for seed=SEED")
    parser.add_argument("--shard", type=parse_shard, default=(0, 1), metavar="i/n", help="generate only part i of n")
    parser.add_argument("--workers", type=positive, default=1, help="number of processes (default 1)")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="ray: on a Ray cluster")
    parser.add_argument("--overwrite", action="store_true", help="replace a set with other settings")
    parser.add_argument("--categories", metavar="DIR", help="fractals: use the systems of published CSV files")
    parser.add_argument("--dry-run", action="store_true", help="print the size and duration, write nothing")
    parser.add_argument("--verify", action="store_true", help="regenerate samples and compare them bit for bit")
    parser.add_argument("--num-samples", type=positive, help="with --verify: how many to regenerate (default all)")
    args = parser.parse_intermixed_args()  # key=value may be anywhere
    for key in ("dataset", "seed"):
        args.overrides += [] if getattr(args, key) is None else [f"{key}={getattr(args, key)}"]
    config = resolve_config(args, ImageSetConfig)
    if args.dry_run:
        return plan_images(config, categories=args.categories, workers=args.workers)
    if args.out is None:
        parser.error("--out is required")
    executor = on_ray if args.engine == "ray" else local(args.workers)
    options = RunOptions(shard=args.shard, executor=executor, overwrite=args.overwrite)
    how = {"image_format": args.format, "categories": args.categories, "options": options}
    if args.verify:
        return verify_images(config, args.out, num_samples=args.num_samples, **how)
    return generate_images(config, args.out, **how)
