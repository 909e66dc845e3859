"""Train a detector, pre-train its backbone, or train a classifier of point clouds or of pictures.

Scenes, clouds and pictures are generated on the fly or read from a folder. The same command resumes an interrupted run.
"""

import argparse
import json
import math

from pcfdsl.command_line import add_config, whole
from pcfdsl.commands import arguments
from pcfdsl.config import ConfigError, load, to_dict

__all__ = ["main", "train_task"]


def main() -> dict | None:
    from pcfdsl.train.tasks.table import TASKS

    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--task", choices=tuple(TASKS), default="detection", help="what to learn (default: detection)")
    return train_task(first.parse_known_args()[0].task, argparse.ArgumentParser(description=__doc__, parents=[first]))


def train_task(task: str, parser: argparse.ArgumentParser) -> dict | None:
    """Add to a parser what a task takes, and train as the command line says."""
    from pcfdsl.train.tasks.table import TASKS

    config_class, train = TASKS[task]()
    add_config(parser, config_class)
    parser.add_argument("--train-fraction", type=float, metavar="F", help="share of the training set to use")
    if task in ("image", "self_supervised", "coco", "vg_fractal", "warm_up"):
        parser.add_argument("--model", metavar="NAME", help="any timm model: sets model.name")
        own = {"model.name": "model"}
        if task == "image":
            parser.add_argument("--freeze-stages", type=whole, metavar="K", help="keep the first K stages as they are")
            own["freeze_stages"] = "freeze_stages"
        elif task == "self_supervised":
            parser.add_argument("--method", metavar="NAME", help="mocov2, simclr, mae, ...: sets method.kind")
            own["method.kind"] = "method"
        elif task == "coco":
            parser.add_argument("--data", metavar="PATH", help="folder in COCO's format: sets path")
            own["path"] = "data"
    elif task == "point_mae":
        own = {}  # one network, and clouds of formulas by default
    else:
        parser.add_argument(
            "--backbone",
            choices=("pointnet2", "srunet", "point_transformer"),
            help="the last two also turn points.use_height off",
        )
        own = {"model.backbone_type": "backbone"}
        if task == "classification":
            parser.add_argument("--data", metavar="PATH", help=".npz file or folder of classes: sets data.path")
            own["data.path"] = "data"
        else:
            scenes = "detection set, or generated scenes: sets data"
            if task == "detection":
                scenes += ", and validation to the set's split val, or to none"
            parser.add_argument("--data", dest="scenes", metavar="DIR", help=scenes)
    arguments.add_training(parser)
    args = parser.parse_intermixed_args()
    settings = {key: getattr(args, name) for key, name in (own | {"train_fraction": "train_fraction"}).items()}
    if settings.get("model.backbone_type") in ("srunet", "point_transformer"):
        settings["points.use_height"] = False
    if folder := getattr(args, "scenes", None):  # first, so that settings of data or validation change these
        args.overrides[:0] = _stored_scenes(folder, validated=task == "detection")
    try:
        return arguments.train(parser, args, config_class, train, settings)
    except ConfigError:
        others = _tasks_of(args.config, task) if args.config else []
        if not others:
            raise
        parser.error(f"{args.config} is no recipe of {task}; take it with pcfdsl train --task {' or '.join(others)}")


def _stored_scenes(folder: str, *, validated: bool) -> list[str]:
    """The settings that train on the scenes of a folder."""
    from pcfdsl.datasets.detection_set import split_files
    from pcfdsl.datasets.sources import NoSource, SceneSource, stored_scenes

    sources: dict[str, SceneSource] = {"data": stored_scenes(folder, split="train")}
    if validated:
        sources["validation"] = stored_scenes(folder, split="val") if "val" in split_files(folder) else NoSource()
    return [f"{key}={json.dumps(to_dict(source))}" for key, source in sources.items()]


def _tasks_of(recipe: str, task: str) -> list[str]:
    """The tasks to whose settings a recipe fits best, if better than to those of `task`."""
    from pcfdsl.train.tasks.table import TASKS

    def num_problems(name: str) -> float:
        try:
            load(TASKS[name]()[0], recipe)
        except ConfigError as error:
            return len(error.problems)
        except ImportError:  # it needs an extra that is not installed, and so cannot be meant
            return math.inf
        return 0

    own = num_problems(task)
    if not own:  # the usual slip is in another setting, and to import all tasks takes seconds
        return []
    found = {name: num_problems(name) for name in TASKS}
    least = min(found.values())
    return [name for name, count in found.items() if count == least < own]
