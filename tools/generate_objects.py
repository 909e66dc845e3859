"""Generate clouds of one or more formulas, such as spherical harmonics. Run again to resume, check or repair."""

from pcfdsl.command_line import run
from pcfdsl.commands.generate_objects import main

if __name__ == "__main__":
    run(main)
