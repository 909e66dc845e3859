"""A small task for the training loop; as a script, a run of it that can be killed or started under torchrun.

python toy_run.py OUT '{"num_steps": 20}' [--slow SECONDS] [--norm] [--kill RANK STEP]
"""

import argparse
import json
import os
import signal
import time
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from torch import nn

from pcfdsl.config import Settings, from_dict
from pcfdsl.rng import stream
from pcfdsl.train.loop import train
from pcfdsl.train.task import Task, TrainConfig


@dataclass(frozen=True, kw_only=True)
class ToyConfig(Settings):
    what: str = "toy"
    train: TrainConfig = TrainConfig()


@dataclass(frozen=True)
class ToyBatch:
    x: torch.Tensor
    y: torch.Tensor

    def to(self, device, *, non_blocking=False):
        return ToyBatch(self.x.to(device, non_blocking=non_blocking), self.y.to(device, non_blocking=non_blocking))


class ToyData:
    """Sample (epoch, i): a fixed vector with noise that depends on the epoch; `bad` names a sample that is NaN."""

    def __init__(self, size: int = 24, *, bad: int | None = None, slow: float = 0.0):
        self.size, self.bad, self.slow = size, bad, slow

    def __len__(self):
        return self.size

    def __getitem__(self, key):
        epoch, i = key
        time.sleep(self.slow)
        x = stream(0, "toy", i).normal(size=8) + 0.1 * stream(0, "noise", epoch, i).normal(size=8)
        x = x.astype(np.float32) * (np.nan if i == self.bad else 1)
        return x, np.float32(np.sin(x[:3].sum()))


def collate(samples):
    x, y = zip(*samples, strict=True)
    return ToyBatch(torch.from_numpy(np.stack(x)), torch.from_numpy(np.stack(y)))


def loss(network, batch, rng):
    difference = network(batch.x)[:, 0].float() - batch.y
    value = (difference**2).mean()
    return value, {"absolute": difference.abs().mean().detach()}


def toy_task(*, norm: bool = False, dropout: float = 0.0, **data) -> Task:
    torch.manual_seed(0)
    layers = [nn.Linear(8, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, nn.Linear(16, 1))

    def evaluate(network, group):
        batch = collate([ToyData()[0, i] for i in group.share(24)])
        return {"score": -float(np.mean(group.gather(loss(network, batch, None)[0].item())))}

    return Task(
        model=model,
        dataset=ToyData(**data),
        collate=collate,
        loss=loss,
        evaluate=evaluate,
        monitor="score",
        config=ToyConfig(),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("settings")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--norm", action="store_true")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--kill", type=int, nargs=2, metavar=("RANK", "STEP"), help="kill -9 this once, under torchrun")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = from_dict(TrainConfig, json.loads(args.settings))
    task = toy_task(norm=args.norm, dropout=args.dropout, slow=args.slow)
    if args.kill and [os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]] == [str(args.kill[0]), "0"]:
        task = replace(task, loss=deadly(args.kill[1]))
    train(task, config, args.out)


def deadly(step: int):
    calls = count()

    def kill(network, batch, rng):
        if next(calls) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(network, batch, rng)

    return kill


if __name__ == "__main__":
    main()
