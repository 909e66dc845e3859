"""Generate a PC-FractalDB: search its categories, generate its clouds. Run again to resume, check or repair."""

from pcfdsl.command_line import run
from pcfdsl.commands.generate_pcfractal import main

if __name__ == "__main__":
    run(main)
