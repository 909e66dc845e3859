"""Train or fine-tune a timm image network on generated or stored pictures: short for `train --task image`."""

import argparse

from pcfdsl.commands.train import train_task

__all__ = ["main"]


def main() -> dict | None:
    return train_task("image", argparse.ArgumentParser(description=__doc__))
