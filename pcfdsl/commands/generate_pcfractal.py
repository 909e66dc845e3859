"""Generate a PC-FractalDB: search its categories, generate its clouds. Run again to resume, check or repair."""

import argparse

from pcfdsl.command_line import add_config
from pcfdsl.commands.arguments import add_generation, generate

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.generate.pcfractal import generate_pcfractal, plan_pcfractal, verify_pcfractal
    from pcfdsl.pointcloud.pcfractal import PCFractalConfig

    parser = argparse.ArgumentParser(description=__doc__)
    add_config(parser, PCFractalConfig)
    add_generation(parser, categories="use the systems of this folder of released CSV files")
    args = parser.parse_intermixed_args()  # key=value may be anywhere
    return generate(parser, args, (PCFractalConfig,), (plan_pcfractal, generate_pcfractal, verify_pcfractal))
