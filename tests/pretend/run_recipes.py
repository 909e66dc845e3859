"""Train recipes on the pretend device, in a process of its own: `python run_recipes.py OUT TASK:RECIPE ...`.

Prints a line of JSON for each recipe: the losses there and on the CPU, and what one step asked of the device. The
device changes torch for the whole process.
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import device  # type: ignore[import-not-found]

import pcfdsl.train.loop
from pcfdsl.checkpoints.run_folder import load_checkpoint
from pcfdsl.config import load
from pcfdsl.recipes import find_recipe
from pcfdsl.train.log import read_log
from pcfdsl.train.tasks.table import TASKS

PLAIN = ["train.num_steps=3", "train.evaluations=0", "train.checkpoint_every=1", "train.log_every=1"]
FULL = ["train.num_steps=2", "train.evaluations=1", "train.checkpoint_every=1", "train.log_every=1"]
FULL += ["train.accumulate=2", "train.average=0.9"]


def train(task: str, recipe: str, out: Path, overrides: list[str], *, on: str) -> None:
    """Train as `pcfdsl train` does."""
    config_class, run = TASKS[task]()
    config = load(config_class, find_recipe(recipe), [*overrides, f"train.device={on}", "train.sinks=[]"])
    run(config, out)


def losses(out: Path) -> list[float]:
    return [record["loss"] for record in read_log(out) if "loss" in record]


def second_step(task: str, recipe: str, out: Path) -> dict[str, dict[str, int]]:
    """What the second step asked of the device, by line: the first may set things up."""
    save, seen = pcfdsl.train.loop.save, []

    def measured(run, progress, **about):
        seen.append(device.ledger.by_line())
        save(run, progress, **about)
        device.ledger.clear()

    pcfdsl.train.loop.save = measured
    train(task, recipe, out, PLAIN, on=device.NAME)
    pcfdsl.train.loop.save = save
    return seen[1]


def interrupted_and_resumed(task: str, recipe: str, out: Path) -> None:
    """Two steps with accumulation, a moving average and an evaluation, stopped after the first and resumed."""
    save = pcfdsl.train.loop.save

    def save_and_stop(run, progress, **about):
        save(run, progress, **about)
        raise KeyboardInterrupt

    pcfdsl.train.loop.save = save_and_stop
    try:
        train(task, recipe, out, FULL, on=device.NAME)
        raise AssertionError("the run was not interrupted")
    except KeyboardInterrupt:
        pass
    pcfdsl.train.loop.save = save
    train(task, recipe, out, FULL, on=device.NAME)


def main() -> None:
    out = Path(sys.argv[1])
    pairs = [pair.split(":") for pair in sys.argv[2:]]
    for task, recipe in pairs:  # before the device changes torch
        train(task, recipe, out / "cpu" / recipe, PLAIN, on="cpu")
        train(task, recipe, out / "cpu_full" / recipe, FULL, on="cpu")
    with device.Pretending():
        for task, recipe in pairs:
            asked = second_step(task, recipe, out / "pretend" / recipe)
            interrupted_and_resumed(task, recipe, out / "full" / recipe)
            kept = load_checkpoint(out / "full" / recipe / "last.safetensors").state
            result = {
                "recipe": recipe,
                "cpu": losses(out / "cpu" / recipe),
                "pretend": losses(out / "pretend" / recipe),
                "cpu_full": losses(out / "cpu_full" / recipe),
                "full": losses(out / "full" / recipe),
                "finite": all(bool(torch.isfinite(value).all()) for value in kept.values()),
                **asked,
            }
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
