"""Find objects in point clouds with a trained detector; boxes as JSON, and drawn over the points."""

from pcfdsl.command_line import run
from pcfdsl.commands.predict import main

if __name__ == "__main__":
    run(main)
