"""Generate scenes of fractals or other formulas, with boxes. Run again to resume, check or repair."""

import argparse

from pcfdsl.command_line import add_config
from pcfdsl.commands.arguments import add_generation, generate

__all__ = ["main"]


def main() -> dict:
    from pcfdsl.generate.one_stage import generate_set, plan_set, verify_set
    from pcfdsl.scene.config import FractalScenesConfig, ObjectScenesConfig

    parser = argparse.ArgumentParser(description=__doc__)
    kinds = (FractalScenesConfig, ObjectScenesConfig)
    add_config(parser, *kinds)
    add_generation(parser)
    args = parser.parse_intermixed_args()  # key=value may be anywhere
    return generate(parser, args, kinds, (plan_set, generate_set, verify_set))
