"""Arguments that commands share, and what is done with them; one function for each kind of job."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from pcfdsl.command_line import add_seeds, parse_shard, positive, resolve_config, whole

if TYPE_CHECKING:
    from pcfdsl.datasets.preparation import PreparationReport

__all__ = ["add_generation", "add_preparation", "add_training", "generate", "prepare", "print_report", "train"]


def add_generation(parser: argparse.ArgumentParser, *, categories: str | None = None) -> None:
    """Add what the generators of sets take; `categories` is the help text of --categories, if the set takes any."""
    parser.add_argument("--out", metavar="DIR", help="folder of the set")
    parser.add_argument("--shard", type=parse_shard, default=(0, 1), metavar="i/n", help="generate only part i of n")
    parser.add_argument("--workers", type=positive, default=1, help="number of processes (default 1)")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="ray: on a Ray cluster")
    parser.add_argument("--overwrite", action="store_true", help="replace a set with other settings")
    if categories:
        parser.add_argument("--seed", type=whole, help="short for seed=SEED")
        parser.add_argument("--categories", metavar="DIR", help=categories)
    parser.add_argument("--dry-run", action="store_true", help="print the size and duration, write nothing")
    parser.add_argument("--verify", action="store_true", help="regenerate samples and compare them bit for bit")
    parser.add_argument("--num-samples", type=positive, help="with --verify: how many to regenerate (default all)")


def generate(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    config_classes: tuple[type, ...],
    jobs: tuple[Callable[..., dict], Callable[..., dict], Callable[..., dict]],
    **how: Any,
) -> dict:
    """Plan, generate or verify a set, as the arguments ask.

    Args:
        parser: The command's, for usage errors.
        args: Its parsed arguments.
        config_classes: The recipe, or the kinds of it.
        jobs: The functions that plan, generate and verify.
        how: What the last two take besides.
    """
    from pcfdsl.generate.driver import RunOptions
    from pcfdsl.generate.ray import on_ray
    from pcfdsl.generate.workers import local

    plan, make, verify = jobs
    given = {"categories": args.categories} if "categories" in args else {}
    args.overrides += [f"seed={args.seed}"] if "seed" in args and args.seed is not None else []
    config = resolve_config(args, *config_classes)
    if args.dry_run:
        return plan(config, **given, workers=args.workers)
    if args.out is None:
        parser.error("--out is required")
    executor = on_ray if args.engine == "ray" else local(args.workers)
    options = RunOptions(shard=args.shard, executor=executor, overwrite=args.overwrite)
    how |= {**given, "options": options}
    if args.verify and (args.shard != (0, 1) or args.overwrite):
        parser.error("--verify checks the whole set and writes nothing; leave --shard and --overwrite out")
    if args.num_samples and not args.verify:
        parser.error("--num-samples is for --verify")
    if args.verify:
        return verify(config, args.out, num_samples=args.num_samples, **how)
    return make(config, args.out, **how)


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add what every training takes."""
    parser.add_argument("--out", metavar="DIR", help="folder of the run: checkpoints and logs")
    parser.add_argument("--seed", dest="seeds", type=whole, nargs=1, metavar="N", help="sets train.seed")
    add_seeds(parser, what="one run per seed, and their mean")
    parser.add_argument("--init-from", metavar="CKPT", help="initial weights: sets init.checkpoint")
    parser.add_argument("--workers", type=whole, metavar="N", help="data loading processes: sets train.num_workers")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N: sets train.device")
    parser.add_argument("--overwrite", action="store_true", help="start from scratch, whatever the folder holds")


def train(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    config_class: type,
    run: Callable[..., Any],
    settings: Mapping[str, Any],
) -> dict | None:
    """Train as the arguments ask.

    Args:
        parser: The command's, for usage errors.
        args: Its parsed arguments.
        config_class: The settings of the training.
        run: The function that trains.
        settings: Values of the command's own arguments by key path; None where one was not given.
    """
    from pcfdsl.checkpoints.run_folder import find_weights

    shared = {"init.checkpoint": args.init_from, "train.num_workers": args.workers, "train.device": args.device}
    given = {key: value for key, value in {**settings, **shared}.items() if value is not None}
    takes = {field.name for field in dataclasses.fields(config_class)}
    for flag, key in (("--init-from", "init.checkpoint"), ("--train-fraction", "train_fraction")):
        if key in given and key.partition(".")[0] not in takes:
            parser.error(f"argument {flag}: this task does not take it; leave it out")
    args.overrides += [f"{key}={json.dumps(value)}" for key, value in given.items()]
    config = resolve_config(args, config_class)
    if args.out is None:
        parser.error("--out is required")
    start = getattr(config, "init", None)
    if start is not None and start.checkpoint is not None:
        find_weights(start.checkpoint)  # those that are not there are named before data are opened
    results = run(config, args.out, seeds=args.seeds or (), overwrite=args.overwrite)
    return results.to_dict() if os.environ.get("RANK", "0") == "0" else None  # under torchrun, one process reports


def add_preparation(parser: argparse.ArgumentParser, *, points: str) -> None:
    """Add what the preparations of benchmarks take; `points` is the help text of --max-points."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the set")
    parser.add_argument("--max-points", type=positive, metavar="N", help=points)
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="seed of the choice of points (default 0)")
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="processes")
    parser.add_argument("--overwrite", action="store_true", help="start from scratch, whatever the folder holds")


def prepare(args: argparse.Namespace, job: Callable[..., "PreparationReport"], files: Any, **own: Any) -> NoReturn:
    """Prepare a benchmark as the arguments of `add_preparation` ask, print the report, and exit with its code.

    Args:
        args: The parsed arguments.
        job: The function that prepares.
        files: Where the downloads are.
        own: What this benchmark's preparation takes besides.
    """
    print_report(
        job(
            files,
            args.out,
            max_points=args.max_points,
            seed=args.seed,
            workers=args.workers,
            overwrite=args.overwrite,
            **own,
        )
    )


def print_report(report: "PreparationReport") -> NoReturn:
    """Print what a preparation did, and exit with its code."""
    print(report.to_json(), flush=True)
    print(report, file=sys.stderr)  # last, so that it stays in sight: the list of missing files may be long
    raise SystemExit(report.exit_code)
