"""Generate scenes of fractals or other formulas, with boxes. Run again to resume, check or repair."""

from pcfdsl.command_line import run
from pcfdsl.commands.generate_scenes import main

if __name__ == "__main__":
    run(main)
