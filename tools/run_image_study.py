"""Compare image sets as pre-training on a laptop: the papers' tables at 32 px. Run again to resume."""

from pcfdsl.command_line import run
from pcfdsl.commands.image_study import main

if __name__ == "__main__":
    run(main)
